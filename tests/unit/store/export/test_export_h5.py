"""Stores as annotations and shards: read back they are the same; what is left out is counted."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_corpus import change, extraction, make_corpus

from corpus import tiny_recipe
from kinesweep.cli import main
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.source import H5ShardsConfig
from kinesweep.core.errors import InputError
from kinesweep.sources import build_source
from kinesweep.store import Store
from kinesweep.store.export.export_h5 import export_h5_shards
from kinesweep.store.export.file_names import sanitize_file_name
from kinesweep.store.extraction.build import build_store, extract_locally
from shards import h5_corpus


def recipe_of(folder: Path, source: dict[str, Any], root: Path) -> Recipe:
    plain = tiny_recipe(folder, root).model_dump(mode="json")
    names = ("train", "validation", "test")
    paths = {split: os.path.join(folder, source[split]) for split in names if split in source}
    plain |= {"source": {**source, **paths}, "features": {"kind": "streams"}}
    return validate_config(Recipe, plain, "test")


def store_of(folder: Path) -> Store:
    return extract_locally(recipe_of(folder, h5_corpus(folder), folder / "stores"))


def test_a_store_read_back_is_the_same(tmp_path: Path) -> None:
    store = store_of(tmp_path / "given")
    out = tmp_path / "out"
    told: list[tuple[int, int]] = []
    done = export_h5_shards(store, out, progress=lambda *now: told.append(now), shard_bytes=400)
    assert done.clips == {"train": 10, "validation": 7} and done.left == {}
    assert told[-1] == (51, 51)
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {"annotation.dev.json", "dino/metadata_dino.dev.json", "dino/dino.train.2.h5"} <= files
    assert json.loads((out / "annotation.train.json").read_text()) == json.loads(
        (tmp_path / "given" / "annotation.train.json").read_text()
    )
    again = extract_locally(recipe_of(out, done.source, tmp_path / "others"))
    assert again.extraction.computed == 17  # type: ignore[union-attr]
    assert again.schema == store.schema
    for split in store.splits:
        for old, new in zip(store.get_records(split), again.get_records(split), strict=True):
            assert replace(new.clip, media=old.clip.media) == old.clip
            assert (new.digest, new.key, new.rates_hz) == (old.digest, old.key, old.rates_hz)


def test_poses_become_shards_and_what_has_no_place_is_counted(tmp_path: Path) -> None:
    source = make_corpus(tmp_path, train=4, test=1)
    source = change(source, "train-1", document="", signer="A", encoder_prompt="__asl__")
    source = change(source, "train-2", order=-1, texts=("One.", "Two."))
    store = build_store(extraction(source, tmp_path / "stores", dtype="float32"))
    done = export_h5_shards(store, tmp_path / "out")
    assert done.left == {"encoder_prompt": 1, "signer": 1}
    plain = {**done.source, **{s: str(tmp_path / "out" / done.source[s]) for s in done.clips}}
    read = build_source(validate_config(H5ShardsConfig, plain, "test"))
    clips = read.list_clips("train")
    assert [clip.id for clip in clips] == [
        "film 0/train-0",
        "train-1/train-1",
        "film 1/train-2",
        "film 1/train-3",
    ]
    assert clips[2].texts == ("One.", "Two.")
    for clip, record in zip(clips, store.get_records("train"), strict=True):
        given = read.read(clip)["pose"]  # type: ignore[index]
        np.testing.assert_array_equal(given.x_TD, store.get_features(record)["pose"])
        assert given.rate_hz == 25.0


def test_names_that_clash_are_an_error(tmp_path: Path) -> None:
    source = make_corpus(tmp_path, train=4)
    source = change(source, "train-0", document="film_1")
    source = change(source, "train-1", document="film/1")
    store = build_store(extraction(source, tmp_path / "stores"))
    with pytest.raises(InputError, match="would both be named `film_1`"):
        export_h5_shards(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "../mine", 3, None])
def test_an_edited_note_removes_nothing(tmp_path: Path, name: object) -> None:
    store, out = store_of(tmp_path / "given"), tmp_path / "out"
    export_h5_shards(store, out)
    note = json.loads((out / "handed_over.json").read_text())
    note["streams"].append(name)
    (out / "handed_over.json").write_text(json.dumps(note))
    (out / "mine.txt").touch()
    files = {path: path.stat().st_size for path in out.rglob("*")}
    with pytest.raises(InputError, match="not an earlier export of this layout"):
        export_h5_shards(store, out, overwrite=True)
    assert {path: path.stat().st_size for path in out.rglob("*")} == files


def test_annotations_are_removed_before_their_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interruption leaves no annotation, the sign of a complete split, without its features."""
    store, out = store_of(tmp_path / "given"), tmp_path / "out"
    export_h5_shards(store, out)

    def stop(folder: Path, **_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", stop)
    with pytest.raises(KeyboardInterrupt):
        export_h5_shards(store, out, overwrite=True)
    assert not list(out.glob("annotation.*.json")) and (out / "dino").is_dir()


def test_the_verb_writes_and_replaces_only_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = store_of(tmp_path / "given"), tmp_path / "out"
    words = ["convert", str(store.folder), str(out), "--to", "h5_shards"]

    def call(*more: str) -> int:
        with pytest.raises(SystemExit) as left:
            main([*words, *more])
        return int(str(left.value.code))

    assert call("--json") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["source"]["streams"][2] == {"name": "sign2vec", "fps": 12.5, "width": 6}
    assert call() == 2
    (out / "mine.txt").touch()
    assert call("--overwrite") == 0 and (out / "mine.txt").exists()
    assert call("--texts", str(out / "mine.txt")) == 2
    (out / "handed_over.json").unlink()
    assert call("--overwrite") == 2
    assert (out / "annotation.dev.json").exists()


def test_a_clip_without_a_text_is_named(tmp_path: Path) -> None:
    source = change(make_corpus(tmp_path, train=3), "train-1", texts=())
    store = build_store(extraction(source, tmp_path / "stores"))
    with pytest.raises(InputError, match="1 clips have no text, for example `train-1`"):
        export_h5_shards(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [" ", "\t", "\u3000"])
def test_a_name_of_white_space_is_a_file_name(name: str) -> None:
    assert sanitize_file_name(name) == "_"
