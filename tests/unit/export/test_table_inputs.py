"""Tables given to `translate` have the unit of time of the corpus that the model was trained on."""

from pathlib import Path

import pytest

from kinesweep.config.recipe.source import PoseFeaturesConfig, PoseTsvConfig
from kinesweep.config.recipe.sources.written_tables import TextTsvConfig
from kinesweep.core.units import Span
from kinesweep.export.inputs import find_inputs
from kinesweep.export.part_inputs import RawPart


@pytest.mark.parametrize(
    ("unit", "span"),
    [
        ("ms", Span(500, 2000, "ms")),
        ("s", Span(500_000, 2_000_000, "ms")),
        ("frames", Span(500, 2000, "frames")),
    ],
)
def test_spans_have_the_unit_of_the_corpus(tmp_path: Path, unit: str, span: Span) -> None:
    (tmp_path / "t.tsv").write_text("signal\tsignal_start\tsignal_end\na.b.pose\t500\t2000\n")
    source = PoseTsvConfig.model_validate({"train": "train.tsv", "time_unit": unit})
    ((name, item),) = find_inputs([tmp_path / "t.tsv"], source)
    assert item.span == span
    assert name.startswith("a.b@500")


@pytest.mark.parametrize("has_parts", [False, True])
def test_columns_that_training_ignores_are_ignored(tmp_path: Path, has_parts: bool) -> None:
    (tmp_path / "t.tsv").write_text("signal\tnote\na.pose\tlate\n")
    source = PoseTsvConfig.model_validate({"train": "train.tsv", "ignore_columns": ["note"]})
    part = RawPart("pose", source, PoseFeaturesConfig(kind="pose"), None, 0)
    parts = {"pose": part} if has_parts else None
    ((name, _),) = find_inputs([tmp_path / "t.tsv"], source, parts=parts)
    assert name == "a"


def test_a_span_cuts_the_streams_that_have_times(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(
        "words\tsignal\tsignal_start\tsignal_end\nHi\ta.pose\t100\t200\n"
    )
    pose = PoseTsvConfig.model_validate({"train": "train.tsv"})
    text = TextTsvConfig.model_validate({"kind": "text_tsv", "train": "train.tsv"})
    features = PoseFeaturesConfig(kind="pose")
    parts = {
        "words": RawPart("words", text, features, None, 0),
        "pose": RawPart("pose", pose, features, None, 1),
    }
    ((name, item),) = find_inputs([tmp_path / "t.tsv"], pose, parts=parts)
    assert name.startswith("a@100") and item.streams["pose"].span == Span(100, 200, "ms")
    assert item.streams["words"].read_media is not None
