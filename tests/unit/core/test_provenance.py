"""What results were computed with: the commit, and whether the package differs from it."""

from pathlib import Path

import pytest

from kinesweep.core import provenance


@pytest.mark.parametrize(
    ("status", "commit"),
    [("", "abc"), (" M cli/data.py", "abc+changes"), (None, "abc+unknown")],
)
def test_changes_are_never_denied_without_asking(
    monkeypatch: pytest.MonkeyPatch, status: str | None, commit: str
) -> None:
    """`git status` fails on a locked index, or takes longer than its limit on a slow disk."""
    answers = {"rev-parse": "abc", "status": status}
    monkeypatch.setattr(provenance, "_run_git", lambda _, command, *rest: answers[command])
    assert provenance._get_commit(Path()) == commit


def test_a_folder_outside_of_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert provenance._get_commit(tmp_path) == ""
