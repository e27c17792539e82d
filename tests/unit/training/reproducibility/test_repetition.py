"""Runs of one identity are compared step by step; where they part is found and named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store import Store
from kinesweep.training.loop import components
from kinesweep.training.loop.run import RunSpec, train_run, write_initial_model
from kinesweep.training.reproducibility import determinism
from kinesweep.training.reproducibility.run_comparison import compare_runs
from kinesweep.training.reproducibility.step_trace import compute_tensor_digests
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.result import RunResult

pytestmark = pytest.mark.integration


def train(recipe: Recipe, store: Store, folder: Path, trace: bool = True) -> RunResult:
    spec = RunSpec(recipe, store.folder, folder, trace=trace)
    return train_run(spec, NullRunLogger(), lambda _: True)


@pytest.fixture(scope="module")
def first(recipe: Recipe, store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run with a trace, to be compared with."""
    return train(recipe, store, tmp_path_factory.mktemp("first") / "run-1")


@pytest.fixture(scope="module")
def second(recipe: Recipe, store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return train(recipe, store, tmp_path_factory.mktemp("second") / "run-2")


def unseeded(_: int) -> None:
    """Set-up as the predecessor had it: whatever numbers come next."""


def test_equal_runs_and_what_a_trace_costs(
    recipe: Recipe, store: Store, tmp_path: Path, first: RunResult, second: RunResult
) -> None:
    traced = [first, second]
    assert compare_runs(traced) == []
    plain = train(recipe, store, tmp_path / "plain", trace=False)
    assert plain.weights_sha256 == traced[0].weights_sha256
    assert plain.scores == traced[0].scores
    assert not (tmp_path / "plain/start.json").exists()
    losses = [row for row in read_metrics(first.folder / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in losses] == list(range(1, recipe.training.max_steps + 1))
    clips = len(store.get_records("train"))
    assert traced[0].epochs == traced[0].samples / clips > 1
    with pytest.raises(CheckpointError, match="plain` holds no trace"):
        compare_runs([traced[0], plain])


def test_an_unseeded_set_up_parts_at_step_0(
    recipe: Recipe,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: RunResult,
) -> None:
    monkeypatch.setattr(determinism, "seed_everything", unseeded)
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    second = train(recipe, store, tmp_path / "run-2")
    (parting,) = compare_runs([first, second])
    assert (parting.run, parting.step) == ("run-2", 0)
    assert "encoders.pose.linear.weight" in parting.what
    assert parting.settings == {"$MKL_CBWR": ("", "COMPATIBLE")}
    assert "run-2 differs at step 0" in parting.format_lines()[0]
    assert "setting $MKL_CBWR: '' in the first run, 'COMPATIBLE'" in parting.format_lines()[1]


def test_another_order_of_data_parts_at_the_first_step(
    recipe: Recipe,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: RunResult,
) -> None:
    def shuffled(store, text, batch, seed, *ranks, **settings):  # type: ignore[no-untyped-def]
        return TrainDataset(store, text, batch, seed + 1, *ranks, **settings)

    monkeypatch.setattr(components, "TrainDataset", shuffled)
    (parting,) = compare_runs([first, train(recipe, store, tmp_path / "run-2")])
    assert parting.step == 1 and "loss" in parting.what
    assert parting.settings == {}
    assert "something in the run is not seeded" in parting.format_lines()[-1]


def test_an_end_of_its_own_is_seen_too(tmp_path: Path, first: RunResult, second: RunResult) -> None:
    copied = shutil.copytree(second.folder, tmp_path / "run-2")
    results = [first, replace(second, folder=copied)]
    (parting,) = compare_runs([results[0], replace(results[1], weights_sha256="other")])
    assert (parting.step, parting.what) == (results[0].step, ("weights",))
    scored = {**results[1].scores, "bleu": -1.0}
    (parting,) = compare_runs([results[0], replace(results[1], scores=scored)])
    assert parting.what == ("final bleu",)
    path = tmp_path / "run-2/metrics.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))
    (parting,) = compare_runs(results)
    assert parting.what == ("number of measurements",)


def test_the_model_before_the_first_step(
    recipe: Recipe, store: Store, tmp_path: Path, first: RunResult
) -> None:
    write_initial_model(recipe, store, tmp_path / "first")
    start = json.loads((first.folder / "start.json").read_text())
    loaded = read_model_folder(tmp_path / "first")
    assert compute_tensor_digests(loaded.model) == start["tensors"]
    write_initial_model(recipe.with_seed(6), store, tmp_path / "other")
    assert compute_tensor_digests(read_model_folder(tmp_path / "other").model) != start["tensors"]
