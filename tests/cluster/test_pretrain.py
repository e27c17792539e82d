"""Pretraining on Ray Train: two workers are one, and what they refuse is raised here."""

from pathlib import Path

import numpy as np
import pytest

from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.pretraining.run import PretrainingSpec, pretrain_run
from kinesweep.training.run_records.metrics import read_metrics
from pretraining import pretraining_recipe
from vision import film_corpus

pytestmark = pytest.mark.slow


def spec_of(recipe: PretrainingRecipe, folder: Path) -> PretrainingSpec:
    return PretrainingSpec(recipe, extract_locally(recipe.corpus_recipe).folder, folder)


def test_two_workers_are_one(tmp_path: Path, cluster: None) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=2)
    one = pretraining_recipe(corpus, tmp_path / "stores")
    two = pretraining_recipe(
        corpus, tmp_path / "stores", batch={"windows": 2}, resources={"workers": 2}
    )
    expected = pretrain_run(spec_of(one, tmp_path / "one"), NullRunLogger(), lambda _: True)
    result = train_on_ray(spec_of(two, tmp_path / "two"))
    assert (result.status, result.step) == ("finished", expected.step)
    for name in ("loss", "masked_loss"):
        ours, theirs = (
            [row[name] for row in read_metrics(run / "metrics.jsonl") if name in row]
            for run in (tmp_path / "two", tmp_path / "one")
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    with pytest.raises(CheckpointError, match="another run"):
        train_on_ray(spec_of(two, tmp_path / "one"))
