"""A run that is given in epochs and ratios trains, warms up and evaluates as many steps."""

import json
from pathlib import Path

import pytest
import yaml

from corpus import tiny_recipe
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.pipelines.dry_run import build_dry_run_overrides
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

BY_EPOCHS = {
    "max_steps": None,
    "num_train_epochs": 1.5,
    "warmup_ratio": 0.5,
    "eval_steps": None,
    "eval_epochs": 0.5,
    "logging_steps": 1,
}


class ParamsLogger(NullRunLogger):
    """Keeps what is logged as parameters."""

    def __init__(self) -> None:
        self.params: dict[str, object] = {}

    def log_params(self, values: dict[str, object]) -> None:
        self.params |= values


def test_a_run_by_epochs(corpus: Path, store: Store, tmp_path: Path) -> None:
    batch = {"batch_size": 8}
    recipe = tiny_recipe(corpus, store.folder.parent, batch=batch, training=BY_EPOCHS)
    num_clips = len(store.get_records("train"))
    per_epoch = -(-num_clips // 8)
    steps, log = -(-3 * per_epoch // 2), ParamsLogger()
    evaluated: list[float] = []

    def report(metrics: dict[str, float]) -> bool:
        evaluated.append(metrics["step"])
        return True

    result = train_run(RunSpec(recipe, store.folder, tmp_path / "run"), log, report)
    expected = {
        "max_steps": steps,
        "warmup_steps": -(-steps // 2),
        "eval_steps": -(-per_epoch // 2),
        "steps_per_epoch": per_epoch,
    }
    assert (result.step, result.reason) == (steps, "max_steps")
    resolved = {**expected, "precision": "fp32", "attention": "sdpa"}
    assert log.params == {f"resolved.{name}": value for name, value in resolved.items()}
    assert json.loads((tmp_path / "run/result.json").read_text())["resolved_steps"] == expected
    assert evaluated == [*range(expected["eval_steps"], steps, expected["eval_steps"]), steps]
    rates = [
        record["learning_rate"]
        for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
        if "learning_rate" in (record := json.loads(line))
    ]
    assert rates.index(max(rates)) + 1 == pytest.approx(expected["warmup_steps"], abs=1)
    # The recipe of the run says what was asked for, and it stays valid.
    path = tmp_path / "run/best/recipe.yaml"
    training = yaml.safe_load(path.read_text())["training"]
    assert (training["max_steps"], training["num_train_epochs"]) == (None, 1.5)
    assert load_config(Recipe, path).training == recipe.training
    dry = load_config(Recipe, path, build_dry_run_overrides(tmp_path)).training
    assert (dry.max_steps, dry.num_train_epochs, dry.eval_epochs) == (10, None, None)
