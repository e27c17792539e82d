"""Media that cannot be hashed are an error of their clips, not of the whole scan."""

from pathlib import Path

import pytest

from kinesweep.core.errors import ClipError
from kinesweep.sources.base import MediaDigest
from kinesweep.store.format.fingerprint import hash_media_files


def test_a_folder_of_images_that_cannot_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"x")
    list_folder = Path.iterdir

    def refuse(folder: Path) -> object:
        """As for a user without the right to list the folder; root, who runs tests, has it."""
        if folder.name == "bad":
            raise PermissionError(13, "Permission denied")
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    found = hash_media_files([tmp_path / "good", tmp_path / "bad"])
    assert isinstance(found[tmp_path / "good"], MediaDigest)
    error = found[tmp_path / "bad"]
    assert isinstance(error, ClipError) and error.reason == "unreadable"
    assert "bad` cannot be read: Permission denied" in str(error)
