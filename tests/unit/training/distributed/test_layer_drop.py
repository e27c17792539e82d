"""Layers that are skipped at random, alike on all workers and by step."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import BartConfig, M2M100Config, M2M100Model
from transformers.models.bart.modeling_bart import BartModel

from kinesweep.core.errors import InputError
from kinesweep.training.distributed.layer_drop import SharedLayerDrop, drops_layers

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "d_model": 8,
    **{f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("attention_heads",)},
    **{f"{side}_ffn_dim": 8 for side in ("encoder", "decoder")},
    **{f"{side}_layers": 6 for side in ("encoder", "decoder")},
}


def build(config_class: type = M2M100Config, rate: float = 0.3) -> nn.Module:
    config = config_class(**SIZES, encoder_layerdrop=rate, decoder_layerdrop=rate)
    model: nn.Module = (M2M100Model if config_class is M2M100Config else BartModel)(config)
    return model.train()


def watch(model: nn.Module) -> list[str]:
    """The names of the layers that are called from now on, in order."""
    called: list[str] = []
    for name, module in model.named_modules():
        if name.split(".")[-2:-1] == ["layers"]:
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    return called


def run(model: nn.Module) -> None:
    ids = torch.tensor([[3, 4, 5]])
    model(input_ids=ids, decoder_input_ids=ids, use_cache=False)


def count_calls(seed: int, steps: range, rate: float = 0.3) -> list[list[str]]:
    """For each step of a run, the layers of its two batches."""
    model = build(rate=rate)
    torch.manual_seed(len(steps))  # another stream of dropout, as on another worker
    drop, called, found = SharedLayerDrop(model, seed), watch(model), []
    for step in steps:
        for _ in range(2):
            drop.start_step(step)
            run(model)
        found.append(called[:])
        called.clear()
    return found


def test_the_draw_depends_on_seed_and_step_alone() -> None:
    whole = count_calls(1, range(8))
    assert whole[5:] == count_calls(1, range(5, 8)), "as after a resumption"
    assert whole != count_calls(2, range(8))
    assert len({tuple(step) for step in whole}) > 1
    halves = [(step[: len(step) // 2], step[len(step) // 2 :]) for step in whole]
    assert any(first != second for first, second in halves), "each batch has a draw of its own"


def test_layers_are_skipped_at_the_rate_of_the_model() -> None:
    calls = sum(map(len, count_calls(1, range(60))))
    assert calls / (60 * 2 * 12) == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("config_class", [M2M100Config, BartConfig])
def test_all_layers_are_back_after_each_pass(config_class: type) -> None:
    model = build(config_class, rate=0.9)
    names = [name for name, _ in model.named_parameters()]
    drop, called = SharedLayerDrop(model, 1), watch(model)
    drop.start_step(1)
    run(model)
    assert len(called) < 12
    assert [name for name, _ in model.named_parameters()] == names
    called.clear()
    with torch.no_grad():
        run(model.eval())
    assert len(called) == 12, "nothing is skipped in an evaluation"


def test_all_layers_are_back_after_an_error() -> None:
    model = build(rate=1.0)
    SharedLayerDrop(model, 1)
    with pytest.raises(IndexError):
        model.get_submodule("encoder")(input_ids=torch.tensor([[99]]))
    assert len(model.get_submodule("encoder").layers) == 6  # type: ignore[arg-type]


def test_draws_of_dropout_stay_as_they_are() -> None:
    model = build()
    drop = SharedLayerDrop(model, 1)
    drop.start_step(3)
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0  # type: ignore[assignment]
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    before = torch.get_rng_state()
    run(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_drops_nothing_is_left_alone() -> None:
    model = build(rate=0.0)
    assert not drops_layers(model)
    SharedLayerDrop(model, 1)
    assert not [module for module in model.modules() if module._forward_pre_hooks]
    assert drops_layers(build(rate=0.1))


def test_unknown_layers_are_refused() -> None:
    class Other(nn.Module):
        layerdrop = 0.1

    with pytest.raises(InputError, match="`Other`, which drops layers"):
        SharedLayerDrop(nn.Sequential(Other()), 1)
