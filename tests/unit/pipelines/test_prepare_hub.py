"""Data sets of the library `datasets` become corpora: saved folders and Parquet files."""

import csv
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from typer.testing import CliRunner

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import app
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.pipelines.corpus_preparation import prepare_from_hub
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.hub import opened_dataset, row_media
from kinesweep.sources.prepare.hub.hub_files import HubFiles
from kinesweep.sources.prepare.hub.hub_preparation import HubSettings
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.training.loop.run import RunSpec, train_run
from poses import pose_file, signer

datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("sample"), 24)


def rows_of(sample: Path, split: str) -> list[dict[str, Any]]:
    """The sample corpus as rows with bytes of pose files."""
    with (sample / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        return [
            {
                "id": Path(row["signal"]).stem,
                "pose": (sample / row["signal"]).read_bytes(),
                "text": row["output"],
                "signer": row["signer"],
                "gloss": row["gloss"],
                "document": row["document"],
            }
            for row in csv.DictReader(file, delimiter="\t")
        ]


def prepare(name: Path, out: Path, **settings: Any) -> PreparationResult:
    rest = {key: settings.pop(key) for key in ("prompts", "overwrite") if key in settings}
    return prepare_from_hub(str(name), out, HubSettings(**settings), **rest)


def save(folder: Path, rows: list[dict[str, Any]], **features: Any) -> Path:
    """One split, saved with `save_to_disk`."""
    dataset = datasets.Dataset.from_list(rows)
    for name, feature in features.items():
        dataset = dataset.cast_column(name, feature)
    dataset.save_to_disk(folder)
    return folder


def clips(out: Path, split: str = "train") -> list[Clip]:
    config = PoseTsvConfig.model_validate({split: str(out / f"{split}.tsv")})
    return PoseTsvSource(config).list_clips(split)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "train.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


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


def test_rows_that_are_no_clips_are_counted_with_their_reasons(tmp_path: Path) -> None:
    data, pose = tmp_path / "data", pose_file()
    rows = [
        {"pose": pose, "text": "good", "id": "a"},
        {"pose": None, "text": "x", "id": "b"},
        {"pose": b"", "text": "x", "id": "c"},
        {"pose": b"GIF89a not a pose", "text": "x", "id": "d"},
        {"pose": pose, "text": "  ", "id": "e"},
        {"pose": pose, "text": None, "id": "f"},
        {"pose": pose, "text": "good", "id": "../../escape"},
    ]
    result = prepare(save(data, rows), tmp_path / "out")
    assert result.dropped == {"train": {"empty_text": 2, "no_media": 2, "not_a_pose_file": 1}}
    assert [row["signal"] for row in table(tmp_path / "out")] == [
        *("poses/train/a.pose", "poses/train/_.._escape-6.pose"),
    ]


def test_paths_stay_inside_the_folder_of_the_data_set(tmp_path: Path) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret.pose"
    secret.write_bytes(pose_file())
    paths = ["poses/a.pose", "../secret.pose", str(secret), "poses/link.pose", "poses/no.pose"]
    save(data, [{"pose": path, "text": f"t{k}", "id": f"c{k}"} for k, path in enumerate(paths)])
    (data / "poses").mkdir()
    (data / "poses" / "a.pose").write_bytes(pose_file())
    os.symlink(secret, data / "poses" / "link.pose")
    result = prepare(data, tmp_path / "out")
    assert result.dropped == {"train": {"missing_file": 1, "outside_root": 3}}
    assert [row["id"] for row in table(tmp_path / "out")] == ["c0"]
    assert len(list((tmp_path / "out" / "poses").rglob("*.pose"))) == 1


def test_poses_that_are_arrays_get_the_header_of_a_file(tmp_path: Path) -> None:
    x_TPJC = signer(frames=3)
    confidence_TPJ = np.linspace(0.1, 1, x_TPJC[..., 0].size, dtype=np.float32)
    confidence_TPJ = confidence_TPJ.reshape(x_TPJC.shape[:3])
    holed_TPJC = x_TPJC.copy()
    holed_TPJC[1, 0, 5] = np.nan
    header = tmp_path / "any.pose"
    header.write_bytes(pose_file(signer(frames=1)))
    shapes = {
        "people": x_TPJC,
        "person": x_TPJC[:, 0],
        "flat": x_TPJC.reshape(3, -1),
        "with_confidence": np.concatenate([x_TPJC, confidence_TPJ[..., None]], -1),
        "holed": holed_TPJC,
        "other": x_TPJC[:, :, 1:],
        "empty_frames": x_TPJC[:0],
    }
    for name, array in shapes.items():
        rows = [{"pose": array.tolist(), "text": "t", "id": name, "fps": 12.5}]
        data, out = save(tmp_path / f"{name}_data", rows), tmp_path / name
        if name in ("other", "empty_frames"):
            with pytest.raises(InputError, match=r"wrong_shape|no_media"):
                prepare(data, out, pose_header=header)
            continue
        prepare(data, out, pose_header=header)
        pose = read_pose(out / table(out)[0]["signal"])
        assert pose.fps == 12.5
        expected = {"with_confidence": confidence_TPJ, "holed": np.isfinite(holed_TPJC[..., 0])}
        np.testing.assert_array_equal(pose.confidence_TPJ, expected.get(name, 1))
        points_TPJC = np.nan_to_num(holed_TPJC) if name == "holed" else x_TPJC
        np.testing.assert_array_equal(pose.points_TPJC, points_TPJC)
    rows = [{"pose": x_TPJC.tolist(), "conf": confidence_TPJ.tolist(), "text": "t"}]
    data = save(tmp_path / "own", rows)
    with pytest.raises(InputError, match="without a frame rate; pass `--fps`"):
        prepare(data, tmp_path / "no_rate", pose_header=header)
    with pytest.raises(InputError, match="`pose` are arrays; pass `--pose-header"):
        prepare(data, tmp_path / "no_header", fps=25)
    with pytest.raises(InputError, match=r"`--pose-header` must be a `\.pose` file"):
        prepare(data, tmp_path / "bad_header", fps=25, pose_header=data / "state.json")
    prepare(data, tmp_path / "out", pose_header=header, fps=25)
    written = read_pose(tmp_path / "out" / table(tmp_path / "out")[0]["signal"])
    np.testing.assert_array_equal(written.confidence_TPJ, confidence_TPJ)


def test_videos_and_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mp4 = b"\x00\x00\x00\x18ftypisom" + bytes(50)
    rows = [
        {"video": {"bytes": mp4, "path": "a.MP4"}, "text": "t"},
        {"video": {"bytes": mp4, "path": None}, "text": "t"},
        {"video": {"bytes": None, "path": "films/b.webm"}, "text": "t"},
        {"video": {"bytes": b"#!/bin/sh", "path": "c.sh"}, "text": "t"},
    ]
    film = tmp_path / "videos" / "films" / "b.webm"
    film.parent.mkdir(parents=True)
    film.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
    # `save_to_disk` looks the file up in the current folder.
    monkeypatch.chdir(tmp_path / "videos")
    data = save(tmp_path / "videos", rows, video=datasets.Video())
    result = prepare(data, tmp_path / "out")
    assert result.dropped == {"train": {"not_a_video": 1}}
    assert result.source_kind == "video_tsv"
    assert [row["signal"] for row in table(tmp_path / "out")] == [
        *("videos/train/a.mp4", "videos/train/train_000001.mp4", "videos/train/b.webm"),
    ]
    buffer = io.BytesIO()
    np.save(buffer, np.ones((4, 3), np.float16))
    features = [
        {"features": buffer.getvalue(), "text": "t"},
        {"features": b"\x80\x04pickle", "text": "t"},
    ]
    prepare(save(tmp_path / "bytes", features), tmp_path / "vectors")
    (row,) = table(tmp_path / "vectors")
    assert np.load(tmp_path / "vectors" / row["signal"]).shape == (4, 3)
    lists = [{"features": [[1.0, 2.0]] * 3, "text": "t"}]
    prepare(save(tmp_path / "lists", lists), tmp_path / "arrays")
    (row,) = table(tmp_path / "arrays")
    assert np.load(tmp_path / "arrays" / row["signal"]).tolist() == [[1, 2]] * 3


def test_files_on_the_hub_are_those_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_address(address: str, mode: str) -> io.BytesIO:
        opened.append(address)
        if "missing" in address:
            raise FileNotFoundError(address)
        return io.BytesIO(pose_file())

    monkeypatch.setattr("datasets.utils.file_utils.xopen", open_address)
    files = HubFiles("owner/name", "c0ffee")
    own = "hf://datasets/owner/name@c0ffee/b.pose"
    writer = row_media.RowMediaWriter("poses", files, tmp_path, "train", None)
    for path in ("poses/a.pose", own, f"zip://c.pose::{own}"):
        assert (tmp_path / writer.write(path, "x", None, None)).read_bytes() == pose_file()
    assert opened == ["hf://datasets/owner/name@c0ffee/poses/a.pose", own, f"zip://c.pose::{own}"]
    for path in (
        *("/etc/passwd", "../other/a.pose", "poses/../../a.pose", "file:///etc/passwd"),
        *("https://example.org/a.pose", "hf://datasets/owner/names/a.pose"),
        *("hf://datasets/owner/name@main/../../other/b.pose", "zip://a::b.zip", "s3://bucket/a"),
        "hf://models/owner/name/a.pose",
    ):
        with pytest.raises(ClipError) as refused:
            writer.write(path, "x", None, None)
        assert refused.value.reason == "outside_root", path
    with pytest.raises(ClipError) as lost:
        writer.write({"path": "missing.pose", "bytes": None}, "x", None, None)
    assert lost.value.reason == "missing_file" and len(opened) == 4


def test_columns_are_recognised_or_chosen(tmp_path: Path) -> None:
    pose = pose_file(signer(frames=50))
    row = {
        "uid": 7,
        "keypoints": pose,
        "translation": {"de": "Hallo", "en": "Hello"},
        "from": 0.04,
        "till": 1.0,
        "name": "unused",
    }
    data = save(tmp_path / "data", [row])
    with pytest.raises(InputError, match=r"several fields.*text=translation\.de`; they are de, en"):
        prepare(data, tmp_path / "out")
    for columns, message in (
        ({"txt": "translation"}, "did you mean `text`"),
        ({"text": "translations"}, "did you mean `translation`\\?.*the columns are `uid`"),
        ({"text": "translation.fr"}, "no field `fr`; its fields are de, en"),
        ({"text": "uid.x"}, "its fields are none"),
    ):
        with pytest.raises(InputError, match=message):
            prepare(data, tmp_path / "out", columns=columns)
    columns = {"text": "translation.en", "start": "from", "end": "till"}
    prepare(data, tmp_path / "out", columns=columns, time_unit="s")
    (line,) = table(tmp_path / "out")
    assert (line["id"], line["output"], line["signal_start"], line["signal_end"]) == (
        *("7", "Hello", "40", "1000"),
    )
    dotted = save(tmp_path / "dotted", [{"pose": pose, "text.raw": "a"}])
    prepare(dotted, tmp_path / "c", columns={"text": "text.raw"})
    assert table(tmp_path / "c")[0]["output"] == "a"
    twice = save(tmp_path / "twice", [{"pose": pose, "text": "a", "sentence": "b"}])
    with pytest.raises(InputError, match="could be the text: text, sentence"):
        prepare(twice, tmp_path / "b")
    nothing = save(tmp_path / "nothing", [{"words": "a", "blob": pose}])
    with pytest.raises(InputError, match=r"contain the pose and the text.*`words`, `blob`"):
        prepare(nothing, tmp_path / "b")
    with pytest.raises(InputError, match="contain the video"):
        prepare(twice, tmp_path / "b", media="videos", columns={"text": "text"})


def test_a_folder_of_json_and_pose_files(tmp_path: Path) -> None:
    """A format without Parquet's options."""
    data = tmp_path / "data"
    (data / "poses").mkdir(parents=True)
    (data / "poses" / "a.pose").write_bytes(pose_file())
    (data / "train.jsonl").write_text(json.dumps({"pose": "poses/a.pose", "text": "t"}) + "\n")
    prepare(data, tmp_path / "out")
    assert [row["id"] for row in table(tmp_path / "out")] == ["a"]


def test_labels_of_classes_are_texts(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["HELLO", "HOUSE"])
    rows = [{"pose": pose_file(), "text": k} for k in (1, 0)]
    prepare(save(tmp_path / "data", rows, text=labels), tmp_path / "out")
    assert [row["output"] for row in table(tmp_path / "out")] == ["HOUSE", "HELLO"]


def test_classes_have_names_in_every_column(tmp_path: Path) -> None:
    """In lists, in fields and in a row without a label too."""
    classes = datasets.ClassLabel(names=["LEFT", "RIGHT"])
    columns = {"pose": pose_file(), "text": "t", "signer": 1, "language": 0, "gloss": [1, 0]}
    features = {"signer": classes, "language": classes, "gloss": datasets.List(classes)}
    prepare(save(tmp_path / "data", [columns], **features), tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert (row["signer"], row["language"], row["gloss"]) == ("RIGHT", "LEFT", "RIGHT LEFT")
    nested = datasets.Features(pose=datasets.Value("binary"), label=[{"word": classes}])
    rows = [{"pose": pose_file(), "label": [{"word": word}]} for word in (1, -1, 0)]
    datasets.Dataset.from_list(rows, features=nested).save_to_disk(tmp_path / "nested")
    with pytest.raises(InputError, match=r"several fields.*they are word"):
        prepare(tmp_path / "nested", tmp_path / "b", columns={"text": "label"})
    result = prepare(tmp_path / "nested", tmp_path / "b", columns={"text": "label.word"})
    assert [row["output"] for row in table(tmp_path / "b")] == ["RIGHT", "LEFT"]
    assert result.dropped == {"train": {"empty_text": 1}}


def test_numbers_as_ids_orders_and_rates(tmp_path: Path) -> None:
    header = tmp_path / "any.pose"
    header.write_bytes(pose_file(signer(frames=1)))
    array = signer(frames=3)[:, 0].tolist()
    long = "\u3042" * 200
    rows = [
        {"pose": array, "text": "t", "id": id_, "order": order, "fps": fps}
        for id_, order, fps in (
            *(("0", 2.0, "25"), (long, None, "50"), ("b", 1.5, "25"), ("c", 0.0, "fast")),
            *(("d", 0.0, "0"), ("e", 0.0, None)),
        )
    ]
    result = prepare(save(tmp_path / "data", rows), tmp_path / "out", pose_header=header, fps=12)
    assert result.dropped == {"train": {"bad_fps": 2, "invalid_order": 1}}
    found = {row["id"]: row for row in table(tmp_path / "out")}
    assert (found["0"]["order"], found[long]["order"]) == ("2", "0")
    rates = [read_pose(tmp_path / "out" / row["signal"]).fps for row in found.values()]
    assert rates == [25, 50, 12]
    numbers = [{"pose": pose_file(), "text": f"t{k}", "id": k} for k in range(2)]
    prepare(save(tmp_path / "numbers", numbers), tmp_path / "ids")
    assert [row["id"] for row in table(tmp_path / "ids")] == ["0", "1"]


def test_confidences_have_the_shape_of_the_points(tmp_path: Path) -> None:
    header, x_TJC = tmp_path / "any.pose", signer(frames=3)[:, 0].copy()
    header.write_bytes(pose_file(signer(frames=1)))
    confidence_TJ = np.ones(x_TJC.shape[:2], np.float32)
    for name, array in (("turned", confidence_TJ.T), ("short", confidence_TJ[:, :3])):
        rows = [{"pose": x_TJC.tolist(), "confidence": array.tolist(), "text": "t"}]
        with pytest.raises(InputError, match=r"1 wrong_shape; the first one: confidences of shape"):
            prepare(save(tmp_path / name, rows), tmp_path / "x", pose_header=header, fps=25)
        shutil.rmtree(tmp_path / "x")
    x_TJC[1, 5], confidence_TJ[2, 6] = np.nan, np.nan
    rows = [{"pose": x_TJC.tolist(), "confidence": confidence_TJ.tolist(), "text": "t"}]
    prepare(save(tmp_path / "data", rows), tmp_path / "out", pose_header=header, fps=25)
    pose = read_pose(tmp_path / "out" / table(tmp_path / "out")[0]["signal"])
    assert np.isfinite(pose.points_TPJC).all()
    assert np.argwhere(pose.confidence_TPJ != 1).tolist() == [[1, 0, 5], [2, 0, 6]]


@pytest.mark.parametrize("text", [5, b"bytes", [1, 2]])
def test_a_column_without_texts_is_refused(tmp_path: Path, text: object) -> None:
    data = save(tmp_path / "data", [{"pose": pose_file(), "text": text}])
    with pytest.raises(InputError, match=r"`text` contains values of the type (int64|binary) inst"):
        prepare(data, tmp_path / "out")


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
