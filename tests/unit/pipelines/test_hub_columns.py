"""Columns of data sets: recognized or chosen, labels of classes, numbers and texts."""

from pathlib import Path

import datasets
import pytest

from hub_datasets import prepare, save, table
from kinesweep.core.errors import InputError
from kinesweep.sources.pose_format.pose_file import read_pose
from poses import pose_file, signer


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


@pytest.mark.parametrize("text", [5, b"bytes", [1, 2]])
def test_a_column_without_texts_is_refused(tmp_path: Path, text: object) -> None:
    data = save(tmp_path / "data", [{"pose": pose_file(), "text": text}])
    with pytest.raises(InputError, match=r"`text` contains values of the type (int64|binary) inst"):
        prepare(data, tmp_path / "out")
