"""A sweep that asks whether the vision model needs to learn."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from frames import frames_recipe
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.sweep import Sweep, run_sweep
from sweeping import RATE, Here, Lab, OpenTimed
from vision import film_corpus

pytestmark = pytest.mark.integration


def test_frozen_or_not_is_a_question(tmp_path: Path) -> None:
    corpus = film_corpus(tmp_path / "corpus", train=3, validation=1)
    training = {"max_steps": 2, "eval_steps": 2}
    recipe = frames_recipe(corpus, tmp_path / "stores", training=training, batch={"batch_size": 3})
    lab = Lab(recipe, extract_locally(recipe))
    space = lab.space(
        question="Does the vision model need to learn?",
        search={"kind": "random", "trials": 4},
        finalists={"count": 2, "seeds": [1, 2]},
        baseline=False,
        sanity_baselines=[],
        parameters={
            RATE: {"log": [1e-4, 1e-2]},
            "model.vision.freeze": {"role": "scientific", "choices": [True, False]},
            "model.vision.learning_rate": {
                "log": [1e-4, 1e-2],
                "when": {"model.vision.freeze": False},
            },
        },
    )
    folder = tmp_path / "sweep"
    log = OpenTimed(folder / "times")
    run_sweep(Sweep(space, recipe, lab.stores, folder, log, lambda _: None, Here))
    trials = Journal(folder).trials
    frozen = [trial.values["model.vision.freeze"] for trial in trials]
    assert sorted(frozen) == [False, False, True, True]
    assert all(
        ("model.vision.learning_rate" in t.values) != f for t, f in zip(trials, frozen, strict=True)
    )
    finals = [*(folder / "runs").glob("*-s1/best/model.safetensors")]
    assert len(finals) == 2
    key = "vision.network.model.layernorm.weight"
    changes = [bool((load_file(path)[key] - 1).abs().max() > 1e-5) for path in finals]
    assert sorted(changes) == [False, True]
