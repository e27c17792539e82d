"""The journal of rows: what is complete stays, what is damaged is written again."""

import json
from pathlib import Path

import pytest

from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.media.media_settings import lock_corpus, write_media_settings
from kinesweep.sources.prepare.media.row_journal import (
    RowJournal,
    link_file,
    read_rows,
    write_file,
)


def fill(root: Path, count: int = 4) -> RowJournal:
    journal = RowJournal(root / "rows" / "train.jsonl", root)
    for index in range(count):
        name = journal.choose_name(f"clip{index}", index)
        write_file(root / f"{name}.pose", lambda file, index=index: file.write(b"x" * index))
        journal.append(index, name, {"id": f"clip{index}"}, [f"{name}.pose"])
    return journal


def test_rows_with_whole_files_are_kept(tmp_path: Path) -> None:
    fill(tmp_path)
    again = RowJournal(tmp_path / "rows" / "train.jsonl", tmp_path)
    assert (again.num_kept, again.num_lost, again.count_leading_rows()) == (4, 0, 4)


@pytest.mark.parametrize("damage", ["missing", "shorter", "other", "line"])
def test_a_damaged_row_is_lost_and_comes_back_in_its_place(tmp_path: Path, damage: str) -> None:
    fill(tmp_path)
    path, victim = tmp_path / "rows" / "train.jsonl", tmp_path / "clip2.pose"
    match damage:
        case "missing":
            victim.unlink()
        case "shorter":
            victim.write_bytes(b"x")
        case "other":
            victim.write_bytes(b"xy")
        case "line":
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(lines[0] + lines[1] + lines[2][:20])
    journal = RowJournal(path, tmp_path)
    assert 2 not in journal and journal.num_lost == 1
    assert journal.count_leading_rows() == 2
    write_file(victim, lambda file: file.write(b"xx"))
    journal.append(2, journal.choose_name("clip2", 2), {"id": "clip2"}, ["clip2.pose"])
    if damage != "line":
        assert [row["id"] for row in read_rows(path)] == [f"clip{k}" for k in range(4)]
    assert RowJournal(path, tmp_path).num_lost == 0


def test_a_line_without_its_end_is_not_complete(tmp_path: Path) -> None:
    """A killed process may have written all of a line but the line feed."""
    fill(tmp_path)
    path = tmp_path / "rows" / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert RowJournal(path, tmp_path).num_kept == 3


def test_names_of_files_are_harmless_and_unique(tmp_path: Path) -> None:
    journal = fill(tmp_path, 1)
    assert journal.choose_name("clip0", 7) == "clip0-7"
    assert journal.choose_name("a/../../b c", 3) == "a_.._.._b_c-3"
    assert journal.choose_name("../x", 3) == "_x-3"
    assert journal.choose_name(".hidden", 3) == "hidden-3"
    assert journal.choose_name("/", 3) == "_-3"
    assert len(journal.choose_name("z" * 500, 3)) < 200


def test_nothing_is_left_of_a_file_whose_writing_fails(tmp_path: Path) -> None:
    def fail(file: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_file(tmp_path / "a", fail)
    assert not list(tmp_path.iterdir())


def test_a_link_replaces_and_falls_back_to_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a", tmp_path / "folder" / "b"
    source.write_bytes(b"content")
    link_file(source, target)
    assert target.samefile(source)

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    link_file(source, target)
    assert not target.samefile(source) and target.read_bytes() == b"content"


def test_other_settings_are_refused_or_replace_everything(tmp_path: Path) -> None:
    write_media_settings({"fps": 25, "fields": ("a",)}, tmp_path, overwrite=False)
    (tmp_path / "poses").mkdir()
    write_media_settings({"fps": 25, "fields": ["a"]}, tmp_path, overwrite=True)
    assert (tmp_path / "poses").is_dir()
    with pytest.raises(InputError, match=r"other settings.*`--overwrite`"):
        write_media_settings({"fps": 50}, tmp_path, overwrite=False)
    write_media_settings({"fps": 50}, tmp_path, overwrite=True)
    assert not (tmp_path / "poses").exists()
    assert json.loads((tmp_path / "rows" / "settings.json").read_text()) == {"fps": 50}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    match = "another process"
    with lock_corpus(tmp_path), pytest.raises(InputError, match=match), lock_corpus(tmp_path):
        pass
    with lock_corpus(tmp_path):
        pass
