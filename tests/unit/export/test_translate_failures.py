"""`translate` goes on after what it cannot translate, lists it, and leaves with exit code 2."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kinesweep.cli import main
from kinesweep.core.errors import ClipError, InputError, KinesweepError
from kinesweep.export import Bundle, Input, find_inputs
from kinesweep.export.input_failure import InputFailure, find_input_error
from kinesweep.export.translate import Bundle as LoadedBundle

pytestmark = pytest.mark.integration


@pytest.fixture
def files(recipe, tmp_path):
    """A folder with three good files, and three that are not."""
    folder = tmp_path / "clips"
    folder.mkdir()
    poses = sorted(Path(recipe.source.validation).parent.rglob("*.pose"))[:3]
    for name, pose in zip(("a", "c", "e"), poses, strict=True):
        shutil.copy(pose, folder / f"{name}.pose")
    (folder / "b.pose").write_bytes(b"")
    (folder / "d.pose").write_bytes(poses[0].read_bytes()[:-7])
    (folder / "notes.txt").write_text("no pose")
    return folder


@pytest.fixture
def translate(bundle, capsys):
    """Calls the command. Returns lines of stdout without the last, the JSON, and stderr."""

    def call(*inputs, code):
        with pytest.raises(SystemExit) as left:
            main(["translate", str(bundle), *map(str, inputs), "--json"])
        said = capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        assert "Traceback" not in said.err
        *lines, last = said.out.splitlines()
        return lines, json.loads(last), said.err

    return call


def test_good_files_of_a_folder_are_translated(translate, files):
    lines, found, said = translate(files, code=2)
    good = [str(files / f"{name}.pose") for name in "ace"]
    assert [line.split("\t")[0] for line in lines] == good
    assert list(found) == [*good, "failed"]
    assert [failure["file"] for failure in found["failed"]] == [
        str(files / f"{name}.pose") for name in "bd"
    ]
    assert "2 of 5 inputs cannot be translated:" in said
    for failure in found["failed"]:
        assert failure["file"] in failure["reason"] and failure["file"] in said
    # Nothing else changes a text.
    alone, _, _ = translate(*good, code=0)
    assert alone == lines


@pytest.mark.parametrize("missing", ["none.pose", "none", "none.tsv"])
def test_a_missing_path_costs_no_other_its_text(translate, files, missing):
    lines, found, said = translate(files / missing, files / "a.pose", code=2)
    assert len(lines) == 1 and "does not exist" in said
    assert [failure["file"] for failure in found["failed"]] == [str(files / missing)]


def test_nothing_but_bad_inputs(translate, files, tmp_path):
    (tmp_path / "empty").mkdir()
    inputs = (tmp_path / "empty", tmp_path / "none", files / "b.pose", files / "notes.txt")
    lines, found, said = translate(*inputs, code=2)
    assert lines == [] and list(found) == ["failed"]
    assert "4 of 4 inputs cannot be translated" in said
    assert {failure["file"] for failure in found["failed"]} == set(map(str, inputs))
    lines, found, _ = translate(tmp_path / "empty", code=2)
    assert lines == [] and "contains no `.pose` files" in found["failed"][0]["reason"]


def test_bad_rows_of_tables(translate, files):
    """Rows whose file is missing, damaged or outside, whose times are none, or whose span is empty;
    and two tables that use the same name for different clips."""
    rows = [
        ("id", "signal", "signal_start", "signal_end"),
        ("good", "e.pose", "0", "0"),
        ("gone", "x.pose", "0", "0"),
        ("damaged", "d.pose", "0", "0"),
        ("outside", "../../x.pose", "0", "0"),
        ("time", "a.pose", "soon", "0"),
        ("backwards", "a.pose", "400", "200"),
        ("beyond", "a.pose", "99999999", "0"),
        ("failed", "c.pose", "0", "0"),
    ]
    for name in ("one.tsv", "two.tsv"):
        (files / name).write_text("".join("\t".join(row) + "\n" for row in rows))
        rows = rows[:2]
    lines, found, _ = translate(files / "one.tsv", files / "two.tsv", code=2)
    names = [line.split("\t")[0] for line in lines]
    # The word `failed` is taken in the JSON, and `good` is two clips.
    one, two = files / "one.tsv", files / "two.tsv"
    assert names == [f"{one}: good", f"{one}: failed", f"{two}: good"]
    failed = {failure["file"]: failure["reason"] for failure in found["failed"]}
    assert len(failed) == 6, failed
    assert {"gone", "damaged", "outside", "beyond", "one.tsv:6", "one.tsv:7"} == set(failed)


def test_a_table_without_a_usable_header(translate, files):
    (files / "bad.tsv").write_text("colour\tsize\nred\t3\n")
    (files / "latin.tsv").write_bytes("signal\toutput\na.pose\tGrüße\n".encode("latin-1"))
    lines, found, _ = translate(files / "bad.tsv", files / "latin.tsv", files / "a.pose", code=2)
    assert len(lines) == 1
    assert {failure["file"].split(":")[0] for failure in found["failed"]} == {
        "bad.tsv",
        "latin.tsv",
    }


def test_a_clip_that_exhausts_the_memory_costs_no_other_its_text(bundle, files, monkeypatch):
    loaded = Bundle.load(bundle)
    good = [files / f"{name}.pose" for name in "ace"]
    expected = loaded.translate(good)
    wide = max(len(loaded.compute_features(file)["pose"]) for file in good)
    decode = LoadedBundle.translate_features

    def decode_short(self, features, tokens=None, names=None):
        if any(len(streams["pose"]) == wide for streams in features):
            raise MemoryError("cannot allocate")
        return decode(self, features, tokens, names)

    monkeypatch.setattr(LoadedBundle, "translate_features", decode_short)
    found = loaded.translate_each(good)
    failed = [result for result in found if not isinstance(result, str)]
    assert failed and all("does not fit into the memory" in str(error) for error in failed)
    assert [x for x in found if isinstance(x, str)] == [
        text for text, result in zip(expected, found, strict=True) if isinstance(result, str)
    ]
    with pytest.raises(MemoryError):
        loaded.translate(good)


def test_a_failed_clip_is_no_context(bundle, files, caplog):
    """Later clips of its document are translated without its text, which is said."""
    loaded = Bundle.load(bundle)
    context = loaded.loaded.recipe.context.model_copy(
        update={"window": 1, "decoding_context": "model"}
    )
    recipe = loaded.loaded.recipe.model_copy(update={"context": context})
    loaded = replace(loaded, loaded=replace(loaded.loaded, recipe=recipe))
    clips = [
        Input(files / f"{name}.pose", document="d", order=order)
        for order, name in enumerate(("a", "b", "c", "e"))
    ]
    with caplog.at_level(logging.WARNING):
        found = loaded.translate_each(clips)
    assert [isinstance(result, str) for result in found] == [True, False, True, True]
    assert "1 later clips of the document" in caplog.text and "b.pose" in caplog.text


def test_without_a_list_the_first_failure_is_raised(recipe, files):
    source = recipe.corpora[0]
    with pytest.raises(InputError, match="does not exist"):
        find_inputs([files / "none"], source)
    failures: list[InputFailure] = []
    assert find_inputs([files / "none"], source, failures=failures) == []
    assert failures[0].name == str(files / "none")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClipError("a"), ClipError),
        (PermissionError("denied"), ClipError),
        (MemoryError(), InputError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), InputError),
        (KeyError("a bug"), None),
        (RuntimeError("a bug"), None),
    ],
)
def test_a_bug_is_no_failure_of_an_input(error: Exception, kind: type[KinesweepError] | None):
    found = find_input_error(error)
    assert found is None if kind is None else isinstance(found, kind)
