"""The scores at the end of a run are of the split and the beams that they claim."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.io import write_json
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation import evaluate
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.run_identity import (
    RUN_FILE,
    build_run_identity,
    claim_run_dir,
)


def test_final_scores_are_of_their_split_with_the_recipes_beams(
    corpus: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []

    def noted(model, text, batches, num_beams, generation):  # type: ignore[no-untyped-def]
        asked.append(num_beams)
        return decode_batches(model, text, batches, num_beams, generation)

    monkeypatch.setattr(evaluate, "decode_batches", noted)
    few = {"max_steps": 4, "eval_steps": 2}
    recipe = tiny_recipe(
        corpus,
        store.folder.parent,
        training=few,
        generation={"num_beams": 3, "max_new_tokens": 4},
        evaluation={"metrics": ["bleu", "cider"]},
    )
    spec = RunSpec(recipe, store.folder, tmp_path / "a", score_test=True)
    result = train_run(spec, NullRunLogger(), lambda _: True)
    assert asked == [1, 1, 3, 3], "two evaluations of the search, validation, test"
    for split, scores in (("validation", result.scores), ("test", result.test)):
        lines = read_predictions(tmp_path / f"a/predictions/{split}.tsv")
        assert [line.clip_id for line in lines] == sorted(
            r.clip.id for r in store.get_records(split)
        )
        assert scores == evaluate.evaluate_model(tmp_path / "a/best", store, split).scores
    signatures = {"validation": result.signatures, "test": result.test_signatures}
    for split, its in signatures.items():
        assert f"idf:refs-of-{len(store.get_records(split))}-clips" in its["cider"], split
    assert result.text_coverage.keys() == set(store.splits)
    for split, shares in result.text_coverage.items():
        assert shares["too_long_texts"] > 0.5 and (split == "train") is (
            not shares["unknown_tokens"]
        )
        assert f"texts of {split}" in caplog.text
    assert "`generation.max_new_tokens` (4), the longest" in caplog.text


def test_a_run_under_another_chosen_tokenizer_is_another_run(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    recipe = tiny_recipe(corpus, store.folder.parent)
    identity = build_run_identity(recipe, store, 1)
    assert identity.chosen_tokenizer is None
    plain = {key: value for key, value in asdict(identity).items() if key != "chosen_tokenizer"}
    (tmp_path / "old").mkdir()
    write_json(tmp_path / "old" / RUN_FILE, plain)
    # A folder of an earlier version, which scored everything with `13a`.
    claim_run_dir(tmp_path / "old", identity, overwrite=False)
    japanese = replace(identity, chosen_tokenizer="ja-mecab")
    with pytest.raises(CheckpointError, match="chosen_tokenizer None there, 'ja-mecab' here"):
        claim_run_dir(tmp_path / "old", japanese, overwrite=False)
