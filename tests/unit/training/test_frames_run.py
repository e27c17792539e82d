"""A run on frames is the same to the bit, whether a store or the videos hold the pixels."""

from pathlib import Path

import pytest

from frames import frames_recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop.run import RunSpec, train_run
from vision import film_corpus

pytestmark = pytest.mark.integration


def test_both_storages_train_the_same_weights(tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=5, validation=2)
    batch = {
        "batch_size": 3,
        "augmentation": {"mirror": 0.5, "drop_frames": 0.2},
        "truncate_frames": {"video": 30},
    }
    digests, predictions = set(), set()
    for storage, loader_workers in (("decoded", 0), ("video", 2)):
        recipe = frames_recipe(
            corpus,
            tmp_path / "stores",
            storage,
            batch=batch | {"loader_workers": loader_workers},
            training={"max_steps": 4, "eval_steps": 2, "logging_steps": 1},
        )
        store = extract_locally(recipe)
        spec = RunSpec(recipe, store.folder, tmp_path / storage)
        digests.add(train_run(spec, NullRunLogger(), lambda _: True).weights_sha256)
        predictions.add((tmp_path / storage / "predictions" / "validation.tsv").read_bytes())
    assert len(digests) == len(predictions) == 1
