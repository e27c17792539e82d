"""The scores at the end of a run are of the split and the beams that they claim."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation import evaluate
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run


def test_final_scores_are_of_their_split_with_the_recipes_beams(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(model, text, batches, num_beams, generation):  # type: ignore[no-untyped-def]
        asked.append(num_beams)
        return decode_batches(model, text, batches, num_beams, generation)

    monkeypatch.setattr(evaluate, "decode_batches", noted)
    few = {"max_steps": 4, "eval_steps": 2}
    recipe = tiny_recipe(corpus, store.folder.parent, training=few, generation={"num_beams": 3})
    spec = RunSpec(recipe, store.folder, tmp_path / "a", score_test=True)
    result = train_run(spec, NullRunLogger(), lambda _: True)
    assert asked == [1, 1, 3, 3], "two evaluations of the search, validation, test"
    for split, scores in (("validation", result.scores), ("test", result.test)):
        lines = read_predictions(tmp_path / f"a/predictions/{split}.tsv")
        assert [line.clip_id for line in lines] == sorted(
            r.clip.id for r in store.get_records(split)
        )
        assert scores == evaluate.evaluate_model(tmp_path / "a/best", store, split).scores
