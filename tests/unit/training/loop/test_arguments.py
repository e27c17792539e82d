"""Optimisers, schedules, recomputation and frozen parts, by Hugging Face's names."""

import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import get_scheduler
from transformers.models.m2m_100.modeling_m2m_100 import M2M100Attention
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from corpus import tiny_recipe
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import ModelPart
from kinesweep.config.recipe.optimization.schedules import _SCHEDULE_ARGUMENTS, ScheduleName
from kinesweep.config.recipe.training import OptimizerName, TrainingConfig
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.models import Translator, build_translator
from kinesweep.store import Store
from kinesweep.training.loop.run import RunSpec, train_run, write_initial_model
from kinesweep.training.loop.trainer_arguments import build_training_arguments
from tolerances import assert_same_weights

pytestmark = pytest.mark.integration

NEEDS_BITSANDBYTES = ("bnb", "paged", "lion")


def train(recipe: Recipe, store: Store, folder: Path, until: float = 99) -> dict[str, object]:
    spec = RunSpec(recipe, store.folder, folder)
    result = train_run(spec, NullRunLogger(), lambda metrics: metrics["step"] < until)
    return {"weights": result.weights_sha256, "status": result.status, "scores": result.scores}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in ("adamw_torch_fused", "adafactor") else pytest.mark.slow
        )
        for name in get_args(OptimizerName)
        if not any(part in name for part in NEEDS_BITSANDBYTES)
    ],
)
def test_every_optimizer_trains_and_resumes_to_the_bit(
    corpus: Path, store: Store, tmp_path: Path, name: str
) -> None:
    few = {"max_steps": 4, "eval_steps": 2}
    recipe = tiny_recipe(corpus, store.folder.parent, training={"optim": name, **few})
    whole = train(recipe, store, tmp_path / "whole")
    assert train(recipe, store, tmp_path / "parts", until=2)["status"] == "stopped"
    assert train(recipe, store, tmp_path / "parts") == whole
    write_initial_model(recipe, store, tmp_path / "first")
    first, last = (
        load_file(tmp_path / place / "model.safetensors") for place in ("first", "whole/best")
    )
    learnt = [key for key in first if key.endswith("fc1.weight")]
    assert learnt and all((first[key] != last[key]).any() for key in learnt)


def test_names_are_hugging_faces() -> None:
    assert set(get_args(OptimizerName)) <= {name.value for name in OptimizerNames}
    left_out = {"reduce_lr_on_plateau", "greedy"}
    assert set(get_args(ScheduleName)) == {name.value for name in SchedulerType} - left_out


@pytest.mark.parametrize(("restoration", "skips_decoder"), [(None, True), ({}, None)])
def test_workers_do_not_wait_for_gradients_of_a_decoder_that_is_not_run(
    restoration: object, skips_decoder: bool | None, tmp_path: Path
) -> None:
    training = {
        "stage": "align",
        "alignment": {"restoration": restoration},
        "activation_checkpointing": True,
    }
    config = TrainingConfig.model_validate(training)
    arguments = build_training_arguments(config, tmp_path, torch.device("cpu"))
    assert arguments.ddp_find_unused_parameters is skips_decoder


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_every_schedule_takes_its_keys(name: str, tmp_path: Path) -> None:
    function = TYPE_TO_SCHEDULER_FUNCTION[SchedulerType(name)]
    keys = _SCHEDULE_ARGUMENTS.get(name, frozenset())
    assert keys <= set(inspect.signature(function).parameters)
    values = {"min_lr": 1e-5, "num_decay_steps": 2}
    kwargs = {key: value for key, value in values.items() if key in keys}
    config = TrainingConfig(lr_scheduler_type=name, lr_scheduler_kwargs=kwargs, warmup_steps=2)
    arguments = build_training_arguments(config, tmp_path, torch.device("cpu"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = get_scheduler(
        arguments.lr_scheduler_type, optimizer, 2, 10, arguments.lr_scheduler_kwargs
    )
    optimizer.step()
    schedule.step()
    assert 0 < schedule.get_last_lr()[0] <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr_scheduler_kwargs": {"min_lr": 1e-5}}, "`inverse_sqrt` takes `timescale`"),
        (
            {"lr_scheduler_type": "linear", "lr_scheduler_kwargs": {"power": 2}},
            "`linear` takes nothing",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "`min_lr` or `min_lr_rate`"),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "needs .*`num_decay_steps`"),
        ({"optim": "adam"}, "adamw_torch"),
    ],
)
def test_wrong_schedules_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainingConfig.model_validate(changes)


@pytest.mark.usefixtures("float64")
def test_recomputed_activations_give_the_same_model(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    found = []
    for name in (False, True):
        training = {"activation_checkpointing": name}
        recipe = tiny_recipe(corpus, store.folder.parent, training=training)
        train(recipe, store, tmp_path / str(name))
        found.append(load_file(tmp_path / str(name) / "best" / "model.safetensors"))
    assert_same_weights(found[1], found[0])


def test_activations_are_recomputed(
    corpus: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attention (one of the encoder, two of the decoder) runs twice a step."""
    forward, calls = M2M100Attention.forward, []

    def counted(self: M2M100Attention, *args: object, **kwargs: object) -> object:
        if self.training:
            calls.append(1)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(M2M100Attention, "forward", counted)
    found = []
    for wanted in (False, True):
        training = {"activation_checkpointing": wanted}
        recipe = tiny_recipe(corpus, store.folder.parent, training=training)
        calls.clear()
        train(recipe, store, tmp_path / str(wanted))
        found.append(len(calls))
    assert found == [36, 72]


@pytest.mark.parametrize("part", get_args(ModelPart))
def test_frozen_parts_stay_and_the_rest_learns(
    corpus: Path, store: Store, tmp_path: Path, part: ModelPart
) -> None:
    few = {"max_steps": 4, "eval_steps": 4}
    recipe = tiny_recipe(corpus, store.folder.parent, model={"freeze": [part]}, training=few)
    train(recipe, store, tmp_path / "run")
    loaded = read_model_folder(tmp_path / "run" / "best")
    trained = loaded.model
    torch.manual_seed(0)
    fresh = build_translator(recipe.model, store.schema.widths, loaded.tokenizer.vocabulary)
    frozen = {id(p) for p in fresh.get_freezable_part(part).parameters()}
    assert frozen
    for name, weights in fresh.named_parameters():
        assert weights.requires_grad is (id(weights) not in frozen), name
    write_initial_model(recipe, store, tmp_path / "first")
    before = read_model_folder(tmp_path / "first").model
    assert _same(before, trained, part)
    rest: ModelPart = "backbone" if part == "encoder" else "encoder"
    assert not _same(before, trained, rest)


def _same(one: Translator, other: Translator, part: ModelPart) -> bool:
    pairs = zip(
        one.get_freezable_part(part).parameters(),
        other.get_freezable_part(part).parameters(),
        strict=True,
    )
    return all(torch.equal(a, b) for a, b in pairs)


def test_nothing_left_to_train_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="leaves nothing to train"):
        tiny_recipe(corpus, tmp_path, model={"freeze": ["encoder", "backbone"]})
