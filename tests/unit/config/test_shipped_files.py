"""Recipes and search spaces that come with the package: listed, copied, never overwritten."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.config.shipped_files import (
    copy_shipped_files,
    find_shipped_root,
    list_shipped_files,
)
from kinesweep.core.errors import InputError
from kinesweep.sweeps.space.loading import load_space

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """Two recipes, a space of the same name as one of them, and one that refers to the other."""
    root = tmp_path / "shipped"
    for folder in ("jobs/recipes", "search_spaces"):
        (root / folder).mkdir(parents=True)
    (root / "jobs/recipes/a.yaml").write_text(
        "# Train A as Ann et al. (2020)\n# did. More.\nx: 1\n"
    )
    (root / "jobs/recipes/b.yaml").write_text("# Train B.\n#\n# Hardware: none.\nx: [b.yaml]\n")
    (root / "search_spaces/a.yaml").write_text(
        "question: Which A?\nrecipe: ../jobs/recipes/a.yaml\n"
    )
    (root / "search_spaces/c.yaml").write_text("question: C?\nrecipe: ../jobs/recipes/b.yaml\n")
    return root


def test_each_has_one_line(shipped: Path) -> None:
    found = [(file.kind, file.name, file.summary) for file in list_shipped_files(shipped)]
    assert found == [
        ("recipe", "a", "Train A as Ann et al. (2020) did."),
        ("recipe", "b", "Train B."),
        ("space", "a", "Which A?"),
        ("space", "c", "C?"),
    ]


def test_a_copy_has_all_that_it_refers_to(shipped: Path, tmp_path: Path) -> None:
    copied = copy_shipped_files(shipped, ["c"], tmp_path / "new/out")
    assert set(map(str, copied)) == {"search_spaces/c.yaml", "jobs/recipes/b.yaml"}
    for path in copied:
        assert (tmp_path / "new/out" / path).read_bytes() == (shipped / path).read_bytes()
    assert copy_shipped_files(shipped, ["a", "c"], tmp_path / "new/out") == {
        Path("jobs/recipes/a.yaml"): True,
        Path("search_spaces/a.yaml"): True,
        Path("search_spaces/c.yaml"): False,
        Path("jobs/recipes/b.yaml"): False,
    }


def test_nothing_is_overwritten_and_nothing_half_written(shipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out/search_spaces/c.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"`.*c\.yaml` exists and differs"):
        copy_shipped_files(shipped, ["a", "c"], tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("blocker", ["file", "link", "folder"])
def test_what_is_in_the_way_is_named(shipped: Path, tmp_path: Path, blocker: str) -> None:
    out = tmp_path / "out"
    if blocker == "file":
        out.write_text("")
    elif blocker == "link":
        (out / "search_spaces").mkdir(parents=True)
        os.symlink(tmp_path / "nowhere", out / "search_spaces/c.yaml")
    else:
        (out / "search_spaces/c.yaml").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is not a folder|exists and differs"):
        copy_shipped_files(shipped, ["c"], out)
    assert not (tmp_path / "nowhere").exists() and not (out / "jobs").exists()


def test_the_package_folder_is_second_to_a_clone(shipped: Path, tmp_path: Path) -> None:
    package = tmp_path / "lib/site/kinesweep"
    package.mkdir(parents=True)
    with pytest.raises(InputError, match="contains no recipes"):
        find_shipped_root(package)
    shipped.rename(package / "shipped")
    assert find_shipped_root(package) == package / "shipped"
    assert find_shipped_root() == ROOT


def test_all_that_is_shipped_has_a_line_and_loads_from_a_copy(tmp_path: Path) -> None:
    files = list_shipped_files(ROOT)
    assert all(len(file.summary) > 10 for file in files)
    assert all(file.summary.endswith((".", "?")) for file in files)
    spaces = [file for file in files if file.kind == "space"]
    assert len(spaces) >= 11
    for file in spaces:
        folder = tmp_path / file.name
        copy_shipped_files(ROOT, [file.name], folder)
        load_space(folder / file.path, [], folder)


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["recipes", *words])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_lists_and_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("--json")
    assert code == 0
    listed = json.loads(out.splitlines()[-1])["files"]
    assert {"path": "search_spaces/sample.yaml", "kind": "space", "name": "sample"}.items() <= next(
        file for file in listed if file["path"] == "search_spaces/sample.yaml"
    ).items()
    assert run("--copy", "sample")[0] == 0
    assert (tmp_path / "search_spaces/sample.yaml").is_file()
    assert (tmp_path / "jobs/recipes/sample.yaml").is_file()
    assert run("--copy", "sample")[0] == 0, "the same content is kept"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--copy", "sampel"), "did you mean `sample`?"),
        (("--copy", "../../etc/passwd"), "there is no recipe or search space"),
        (("--copy", ""), "there is no recipe or search space"),
        (("somewhere",), "name what to copy by `--copy NAME`"),
    ],
)
def test_wrong_words_are_code_2(words: tuple[str, ...], message: str) -> None:
    code, _, said = run(*words)
    assert code == 2 and message in said and "Traceback" not in said
