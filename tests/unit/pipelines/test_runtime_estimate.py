"""The time of a full run is extrapolated from what a dry run could measure."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus import tiny_corpus, tiny_recipe
from kinesweep.pipelines import runtime_estimate
from kinesweep.pipelines.runtime_estimate import estimate_run_duration, scale_duration
from kinesweep.sweeps.planning.step_timer import StepTiming


def test_durations_are_scaled_by_the_number_of_clips() -> None:
    assert scale_duration("decoding", 3.0, 10, 200) == 60.0
    assert scale_duration("decoding", 3.0, 0, 0) == 0.0


@pytest.mark.parametrize("num_measured", [0, 2])
def test_a_dry_run_without_validation_clips_has_an_estimate(
    num_measured: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = tiny_recipe(tiny_corpus(tmp_path), tmp_path / "stores")
    monkeypatch.setattr(runtime_estimate, "estimate_extraction_seconds", lambda recipe: 0.0)
    records = {"validation": [None] * num_measured}
    store: Any = SimpleNamespace(get_records=records.__getitem__)
    timing = StepTiming(start_s=1.0, step_s=1.0, evaluation_s=1.0, end_s=1.0, samples=4.0)
    with caplog.at_level(logging.INFO, logger="kinesweep"):
        estimate = estimate_run_duration(recipe, store, timing)
    assert estimate.training > 0
    assert bool(estimate.evaluations) == bool(estimate.decoding) == bool(num_measured)
    assert ("the time of decoding cannot be estimated" in caplog.text) == (num_measured == 0)


def test_frames_of_reference_motions_do_not_fill_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(
        tiny_corpus(tmp_path),
        tmp_path / "stores",
        batch={"batch_size": None, "max_frames": 40},
        model={"reference": {"stream": "pose", "against": "reference"}},
    )
    monkeypatch.setattr(runtime_estimate, "estimate_extraction_seconds", lambda recipe: 0.0)
    lengths = {"pose": 10, "reference": 10}
    clips = [SimpleNamespace(lengths=lengths, all_lengths=(lengths,))] * 2
    store: Any = SimpleNamespace(get_records=lambda split: clips)
    timing = StepTiming(start_s=1.0, step_s=1.0, evaluation_s=1.0, end_s=1.0, samples=4.0)
    # A batch holds 4 clips, as many as a step of the dry run, which took 1 s.
    estimate = estimate_run_duration(recipe, store, timing)
    assert estimate.training == recipe.training.max_steps
