"""Predictions are read as they were written, and another system's as they come."""

from pathlib import Path

import pytest

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError, StoreError
from kinesweep.evaluation.evaluate import evaluate_texts
from kinesweep.evaluation.predictions import Prediction, read_predictions, write_predictions
from kinesweep.store import Store

LINES = [
    Prediction("a", 'says "hello"\tand\nmore', ("one",)),
    Prediction("b", "", ("two", "zwei")),
]


@pytest.mark.parametrize("chrf", [None, {"a": 12.345, "b": 0.0}])
def test_what_is_written_is_read(tmp_path: Path, chrf: dict[str, float] | None) -> None:
    write_predictions(tmp_path / "p.tsv", LINES, chrf)
    assert read_predictions(tmp_path / "p.tsv") == LINES
    heading = (tmp_path / "p.tsv").read_text().splitlines()[0].split("\t")
    assert heading == ["id", "hypothesis", "reference", "reference_2", *(["chrf"] if chrf else [])]


def test_another_systems_table_needs_two_columns(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("hypothesis\tscore\tid\nhello\t1\ta\n")
    assert read_predictions(tmp_path / "p.tsv") == [Prediction("a", "hello", ())]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\thello\n", "no column `id` and `hypothesis`"),
        (b"", "no column"),
        (b"id\thypothesis\na\tx\na\ty\n", "`a` more than once"),
        (b"id\thypothesis\na\t\xff\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "p.tsv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_predictions(tmp_path / "p.tsv")


def test_texts_are_scored_on_exactly_the_clips_of_the_split(recipe: Recipe, store: Store) -> None:
    texts = {r.clip.id: r.clip.texts[0] for r in store.get_records("validation")}
    found = evaluate_texts(texts, store, "validation", recipe.evaluation, recipe.batch)
    assert found.scores == pytest.approx({"bleu": 100, "chrf": 100})
    assert found.signatures["bleu"].startswith("protocol:raw|bleu|")
    lost = dict(list(texts.items())[1:])
    with pytest.raises(InputError, match=next(iter(texts))):
        evaluate_texts(lost, store, "validation", recipe.evaluation)
    with pytest.raises(InputError, match="stranger"):
        evaluate_texts({**texts, "stranger": "x"}, store, "validation", recipe.evaluation)
    with pytest.raises(StoreError, match="no split `dev`"):
        evaluate_texts(texts, store, "dev", recipe.evaluation)


def test_clips_that_the_limits_leave_out_are_not_asked_for(recipe: Recipe, store: Store) -> None:
    records = store.get_records("validation")
    longest = max(max(r.lengths.values()) for r in records)
    limits = recipe.batch.model_copy(update={"max_clip_frames": longest - 1})
    short = {r.clip.id: "x" for r in records if max(r.lengths.values()) < longest}
    assert 0 < len(short) < len(records)
    assert evaluate_texts(short, store, "validation", recipe.evaluation, limits).scores


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id\thypothesis\na\n", "p.tsv:2 has 1 fields, not 2"),
        ("id\thypothesis\thypothesis\na\tx\ty\n", "column `hypothesis` more than once"),
        ("id,hypothesis\na,x\n", "this one is separated by commas"),
    ],
)
def test_rows_and_columns_that_would_be_lost_are_errors(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "p.tsv").write_text(content)
    with pytest.raises(InputError) as caught:
        read_predictions(tmp_path / "p.tsv")
    assert said in str(caught.value)


def test_an_open_quotation_mark_loses_no_row(tmp_path: Path) -> None:
    """Python's `csv` takes it for the beginning of a field that ends with the file."""
    (tmp_path / "p.tsv").write_text('id\thypothesis\na\t"Yes\nb\tNo.\n')
    assert [line.hypothesis for line in read_predictions(tmp_path / "p.tsv")] == ['"Yes', "No."]
