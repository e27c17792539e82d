"""Data sets of the library `datasets` become corpora: saved folders and Parquet files."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
from typer.testing import CliRunner

from corpus import tiny_corpus, tiny_recipe, tiny_store
from hub_datasets import clips, prepare, rows_of, save, table
from kinesweep.cli import app
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.sources.prepare.hub import opened_dataset, row_media
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.training.loop.run import RunSpec, train_run
from poses import pose_file


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("sample"), 24)


@pytest.fixture(scope="module")
def saved(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "dataset"
    splits = {
        name: datasets.Dataset.from_list(rows_of(sample, split))
        for name, split in (("train", "train"), ("dev", "validation"), ("test", "test"))
    }
    datasets.DatasetDict(splits).save_to_disk(folder)
    return folder


def test_a_saved_folder_becomes_a_corpus_that_trains(
    saved: Path, sample: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = prepare(saved, out, prompts=Prompts("__x__", None, "en"))
    assert result.clips == {"train": 19, "validation": 3, "test": 2} and not result.dropped
    for clip, row in zip(clips(out), rows_of(sample, "train"), strict=True):
        assert (out / clip.media).read_bytes() == row["pose"]
        assert (clip.id, clip.texts[0], clip.signer) == (row["id"], row["text"], row["signer"])
        assert (clip.gloss, clip.document) == (row["gloss"], row["document"])
        assert (clip.encoder_prompt, clip.decoder_prompt, clip.language) == (
            *("__x__", "__en__", "en"),
        )
    recipe = tiny_recipe(out, tmp_path / "stores", training={"max_steps": 4, "eval_steps": 4})
    spec = RunSpec(recipe, tiny_store(recipe).folder, tmp_path / "run")
    assert train_run(spec, NullRunLogger(), lambda _: True).step == 4


def test_parquet_gives_the_same_corpus_as_the_saved_folder(
    saved: Path, sample: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    for name, split in (("train", "train"), ("validation", "validation"), ("test", "test")):
        dataset = datasets.Dataset.from_list(rows_of(sample, split))
        dataset.to_parquet(folder / f"{name}-00000-of-00001.parquet")
    prepare(saved, tmp_path / "a")
    prepare(folder.parent, tmp_path / "b")
    for path in (tmp_path / "a").rglob("*"):
        if path.suffix in (".tsv", ".pose"):
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert other.read_bytes() == path.read_bytes(), path
    single = prepare(folder / "train-00000-of-00001.parquet", tmp_path / "c", limit=5)
    assert single.clips == {"train": 5}
    assert any("no validation split" in warning for warning in single.warnings)


def test_an_interrupted_preparation_goes_on(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "out", []
    write = row_media.write_file

    def count(path: Path, content: Any) -> None:
        if len(written) == 7:
            raise KeyboardInterrupt
        write(path, content)
        written.append(path)

    monkeypatch.setattr(row_media, "write_file", count)
    with pytest.raises(KeyboardInterrupt):
        prepare(saved, out)
    assert not (out / "train.tsv").exists()
    first = list(written)
    written[:] = []
    monkeypatch.setattr(row_media, "write_file", lambda *a: (write(*a), written.append(a[0])))
    first[2].write_bytes(b"damaged")
    result = prepare(saved, out)
    assert not set(first) - {first[2]} & set(written) and first[2] in written
    assert len(written) == 24 - 6 and result.kept["train"] == 6
    assert first[2].read_bytes() != b"damaged"
    assert [row["id"] for row in table(out)] == [f"train_{index:05d}" for index in range(19)]


def test_a_folder_of_json_and_pose_files(tmp_path: Path) -> None:
    """A format without Parquet's options."""
    data = tmp_path / "data"
    (data / "poses").mkdir(parents=True)
    (data / "poses" / "a.pose").write_bytes(pose_file())
    (data / "train.jsonl").write_text(json.dumps({"pose": "poses/a.pose", "text": "t"}) + "\n")
    prepare(data, tmp_path / "out")
    assert [row["id"] for row in table(tmp_path / "out")] == ["a"]


def test_a_subset_is_chosen_and_an_empty_split_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("a", "b"):
        rows = [{"pose": pose_file(), "text": name}]
        datasets.Dataset.from_list(rows).to_parquet(data / f"{name}.parquet")
    names = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in "ab")
    (data / "README.md").write_text(f"---\nconfigs:\n{names}---\n")
    with pytest.raises(InputError, match=r"\['a', 'b'\].*`--config` names a subset"):
        prepare(data, tmp_path / "out")
    prepare(data, tmp_path / "out", config="b")
    assert [row["output"] for row in table(tmp_path / "out")] == ["b"]
    empty = datasets.Dataset.from_dict({"pose": [], "text": []})
    empty.save_to_disk(tmp_path / "empty")
    with pytest.raises(InputError, match="a split that has no rows"):
        prepare(tmp_path / "empty", tmp_path / "b")


def test_a_failed_attempt_can_be_repeated_with_other_options(tmp_path: Path) -> None:
    rows = [{"pose": b"no pose", "raw": pose_file(), "text": "t"}]
    data, out = save(tmp_path / "data", rows), tmp_path / "out"
    with pytest.raises(InputError, match="1 not_a_pose_file; the first one: the bytes are no"):
        prepare(data, out)
    assert prepare(data, out, columns={"pose": "raw"}).clips == {"train": 1}
    with pytest.raises(InputError, match="is a file; choose a folder"):
        prepare(data, data / "state.json")


def test_what_is_no_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"`.*empty` cannot be opened.*`save_to_disk`"):
        prepare(tmp_path / "empty", tmp_path / "out")

    def fail(*_: object) -> None:
        raise ConnectionError("the Hub cannot be reached")

    monkeypatch.setattr(opened_dataset, "_find_commit", fail)
    result = CliRunner().invoke(app, ["prepare", "no/body", str(tmp_path / "out"), "--from", "hf"])
    assert result.exit_code == 2
    assert "`no/body` cannot be opened: the Hub cannot be reached" in result.output
    with pytest.raises(InputError, match="is a local path"):
        prepare(tmp_path, tmp_path / "out", revision="main")
    odd = datasets.DatasetDict(
        {"challenge": datasets.Dataset.from_list([{"pose": b"", "text": ""}])}
    )
    odd.save_to_disk(tmp_path / "odd")
    with pytest.raises(InputError, match=r"only the splits `challenge`; expected .*train"):
        prepare(tmp_path / "odd", tmp_path / "out")


def test_the_command(saved: Path, tmp_path: Path) -> None:
    words = ["prepare", str(saved), str(tmp_path / "out"), "--from", "hf", "--json"]
    result = CliRunner().invoke(app, [*words, "--limit", "2"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["clips"] == {"train": 2, "validation": 2, "test": 2}
    assert found["root"] == str(tmp_path / "out")
    assert "columns: pose=pose, text=text, id=id" in result.output
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2 and "already contains TSVs" in again.output
    shutil.rmtree(tmp_path / "out")
    refused = CliRunner().invoke(app, [*words, "--data-dir", "x"])
    assert refused.exit_code == 2 and "`--data-dir` belongs to `--from tfds`" in refused.output
