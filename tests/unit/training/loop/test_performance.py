"""The section `performance`: what it changes, what it leaves, and what is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.resources import PerformanceConfig
from kinesweep.core.errors import ConfigError, InputError, ResourceError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.system.kernels import configure_kernels
from kinesweep.pipelines.reproducibility import repeat_training
from kinesweep.store import Store
from kinesweep.training.loop import performance, run
from kinesweep.training.loop.components import build_components
from kinesweep.training.loop.performance import compile_layers, get_attention, resolve_precision
from kinesweep.training.loop.run import RunSpec, train_run

pytestmark = pytest.mark.integration

FEW = {"max_steps": 4, "eval_steps": 2}


class Log(NullRunLogger):
    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def log_params(self, values: Any) -> None:
        self.params |= values


@pytest.fixture
def make(corpus: Path, store: Store):  # type: ignore[no-untyped-def]
    def recipe(training: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        sections = {"performance": changes} if changes else {}
        root = store.folder.parent
        return tiny_recipe(corpus, root, training={**FEW, **(training or {})}, **sections)

    return recipe


def train(recipe: Recipe, store: Store, folder: Path) -> tuple[str, dict[str, Any]]:
    log = Log()
    result = train_run(RunSpec(recipe, store.folder, folder), log, lambda _: True)
    assert result.status == "finished"
    return result.weights_sha256, log.params


def test_the_defaults_are_no_part_of_the_identity(make) -> None:  # type: ignore[no-untyped-def]
    plain = make()
    hashed = plain.compute_config_hash("x")
    assert make(**PerformanceConfig().model_dump()).compute_config_hash("x") == hashed
    # On the CPU, `auto` is fp32; on a GPU it depends on its model.
    auto = make({"precision": "auto"})
    assert auto.compute_config_hash("x") == hashed
    on_gpu = auto.model_copy(update={"resources": plain.resources.model_copy(update={"gpus": 1.0})})
    assert on_gpu.compute_config_hash("x") != hashed
    for cache, is_equal in (("dynamic", True), ("static", False)):
        generation = plain.generation.model_copy(update={"cache": cache})
        other = plain.model_copy(update={"generation": generation})
        assert (other.compute_config_hash("x") == hashed) is is_equal
    changes = [{"deterministic": False}, {"tf32": True}, {"compile": True}, {"attention": "eager"}]
    others = {make(**change).compute_config_hash("x") for change in changes}
    assert len(others) == 4 and hashed not in others


@pytest.mark.parametrize(
    ("training", "changes", "said"),
    [
        ({}, {"attention": "flash_attention_2"}, "needs `resources.gpus`"),
        ({"fsdp": True}, {"compile": True}, "`performance.compile` and `training.fsdp` exclude"),
        ({}, {"attention": "flash"}, "performance.attention"),
        ({}, {"compiled": True}, "performance.compiled"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, training, changes, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=re.escape(said)):
        make(training, **changes)


def test_flash_attention_needs_half_precision(make) -> None:  # type: ignore[no-untyped-def]
    values = make().model_dump(mode="json")
    values["performance"]["attention"] = "flash_attention_2"
    values["resources"]["gpus"] = 1
    with pytest.raises(ValidationError, match=r"set `training.precision` to bf16 or fp16"):
        Recipe.model_validate(values)
    values["training"]["precision"] = "bf16"
    assert Recipe.model_validate(values)


def test_automatic_precision(make, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The kind of GPU decides; a processor never gets bf16."""
    training = build_components(make({"precision": "auto"}), store).training
    assert training.precision == "fp32"
    auto = training.model_copy(update={"precision": "auto"})
    for has_bf16, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)  # noqa: B023
        assert resolve_precision(auto, torch.device("cuda")).precision == name
        assert resolve_precision(auto, torch.device("cpu")).precision == "fp32"
    fp16 = training.model_copy(update={"precision": "fp16"})
    assert resolve_precision(fp16, torch.device("cuda")) is fp16


def test_automatic_precision_trains_the_same_weights(make, store: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    plain, params = train(make(), store, tmp_path / "plain")
    assert train(make({"precision": "auto"}), store, tmp_path / "auto") == (plain, params)
    assert params["resolved.precision"] == "fp32" and params["resolved.attention"] == "sdpa"
    assert "resolved.repeats_to_the_bit" not in params


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_reaches_the_backbone(make, store: Store, attention: str) -> None:  # type: ignore[no-untyped-def]
    model = build_components(make(attention=attention), store).model
    assert get_attention(model) == attention
    configs = {
        id(one.config): one.config for one in model.backbone.modules() if hasattr(one, "config")
    }
    assert {one._attn_implementation for one in configs.values()} == {attention}


def test_attention_that_is_not_there_is_named_before_training(make, store: Store) -> None:  # type: ignore[no-untyped-def]
    model = build_components(make(), store).model
    said = "`performance.attention` is flash_attention_2, which a `.*` cannot use here"
    with pytest.raises(ResourceError, match=said):
        performance.set_attention(model, "flash_attention_2")


def test_a_run_leaves_no_switch_to_the_next_one(make, store: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """As in a warm worker, which trains run after run in one process."""
    fresh = train(make(), store, tmp_path / "fresh")[0]
    fast = make(tf32=True, deterministic=False, attention="eager")
    weights, params = train(fast, store, tmp_path / "fast")
    assert params["resolved.repeats_to_the_bit"] is False
    assert params["resolved.attention"] == "eager"
    assert weights != fresh, "attention has other kernels"
    assert train(make(), store, tmp_path / "after")[0] == fresh
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark and not torch.backends.cuda.matmul.allow_tf32


def test_switches_hold_during_training_and_not_in_the_final_scores(  # type: ignore[no-untyped-def]
    make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(name: str, function: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            deterministic = torch.are_deterministic_algorithms_enabled()
            seen.append((name, deterministic, torch.backends.cuda.matmul.allow_tf32))
            return function(*given, **named)

        return call

    monkeypatch.setattr(run, "build_trainer", look("training", run.build_trainer))
    monkeypatch.setattr(run, "finish_run", look("scores", run.finish_run))
    train(make(tf32=True, deterministic=False), store, tmp_path / "run")
    assert seen == [("training", False, True), ("scores", True, False)]


def test_repetitions_of_what_does_not_repeat_are_refused(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"`performance.deterministic` is false"):
        repeat_training(make(deterministic=False), 2, "in_process", tmp_path, False)


def test_compiled_layers_train_the_weights_by_their_names(  # type: ignore[no-untyped-def]
    make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With torch's own kernels in place of compiled ones, which takes a second and not minutes."""
    module_compile, calls = torch.nn.Module.compile, []

    def trace(layer: torch.nn.Module) -> None:
        calls.append(type(layer).__name__)
        module_compile(layer, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", trace)
    monkeypatch.setattr(performance, "_check_compiler", lambda _: None)
    for name, training in (("plain", {}), ("recomputed", {"activation_checkpointing": True})):
        for kind, recipe in (("eager", make(training)), ("traced", make(training, compile=True))):
            train(_without_dropout(recipe), store, tmp_path / name / kind)
        eager, traced = (
            load_file(tmp_path / name / kind / "best" / "model.safetensors")
            for kind in ("eager", "traced")
        )
        assert traced.keys() == eager.keys()
        for key, tensor in eager.items():
            torch.testing.assert_close(traced[key], tensor, atol=1e-6, rtol=0)
    assert calls == ["M2M100EncoderLayer", "M2M100DecoderLayer"] * 2


def _without_dropout(recipe: Recipe) -> Recipe:
    """Compiled layers may draw their noise in another order."""
    values = recipe.model_dump(mode="json")
    values["model"]["encoder"]["dropout"] = values["model"]["backbone"]["scratch"]["dropout"] = 0
    values["model"]["backbone"]["scratch"]["attention_dropout"] = 0
    return Recipe.model_validate(values)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_compiled_layers_repeat_to_the_bit(  # type: ignore[no-untyped-def]
    make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a used process too, and they come close to the others; 150 s on two busy cores."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    recipe = make(compile=True)
    weights, _ = train(recipe, store, tmp_path / "a")
    train(make(), store, tmp_path / "plain")
    assert train(recipe, store, tmp_path / "b")[0] == weights
    compiled, eager = (
        load_file(tmp_path / name / "best" / "model.safetensors") for name in ("a", "plain")
    )
    assert compiled.keys() == eager.keys() and not any("_orig_mod" in name for name in compiled)
    for name, tensor in eager.items():
        torch.testing.assert_close(compiled[name], tensor, atol=2e-2, rtol=0)


def test_only_layers_are_compiled_and_evaluations_are_not(  # type: ignore[no-untyped-def]
    make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_components(make(compile=True), store).model
    names = set(model.state_dict())
    monkeypatch.setattr(performance, "_check_compiler", lambda _: None)
    compile_layers(model, True)
    compiled = [one for one in model.modules() if one._compiled_call_impl is not None]
    assert compiled and all(type(one).__name__.endswith(("Layer", "Block")) for one in compiled)
    assert set(model.state_dict()) == names
    stances: list[str] = []
    monkeypatch.setattr(
        torch.compiler, "set_stance", lambda name: stances.append(name) or _Nothing()
    )
    assert performance.run_uncompiled(lambda _: "scores", True)(model) == "scores"
    assert performance.run_uncompiled(lambda _: "scores", False)(model) == "scores"
    assert stances == ["force_eager"]


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_machine_without_a_compiler_is_told_so(  # type: ignore[no-untyped-def]
    make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config, "force_disable_caches", True)
    monkeypatch.setattr(config.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    with pytest.raises(ResourceError, match=r"`performance.compile` needs a C\+\+ compiler"):
        train(make(compile=True), store, tmp_path / "run")


@pytest.fixture(autouse=True)
def _defaults():  # type: ignore[no-untyped-def]
    yield
    configure_kernels()
