"""What a search refuses before it starts: samplers of packages that are none, folds of frames."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kinesweep.config.loading import validate_config
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.sweeps.search.sampler_parts import build_sampler_part
from kinesweep.sweeps.space.fold_search import check_fold_search
from kinesweep.sweeps.space.space import SearchSpace
from plugin_package import install_package

CODE = """
from typing import ClassVar, Literal
from kinesweep.config.parts import SamplerPart


class OddConfig(SamplerPart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = "odd_samplers:build"
    divisor: int = 1


def build(config, seed, num_trials):
    return num_trials / config.divisor
"""


@pytest.mark.parametrize(
    ("divisor", "said"),
    [
        (
            1,
            "`odd_samplers:build` must give an instance of `optuna.samplers.BaseSampler`, not of"
            " `float`",
        ),
        (0, "cannot be built: ZeroDivisionError"),
    ],
)
def test_a_sampler_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, divisor: int, said: str
) -> None:
    points = {"kinesweep.samplers": {"odd": "OddConfig"}}
    install_package(monkeypatch, tmp_path, "odd_samplers", CODE, points, "1.0")
    config = import_module("odd_samplers").OddConfig(divisor=divisor, trials=3)
    with pytest.raises(InputError, match=said):
        build_sampler_part(config, 0, 3)


def test_frames_have_no_folds() -> None:
    plain = {
        "question": "q?",
        "recipe": "tiny.yaml",
        "search": {"kind": "random", "trials": 2},
        "pruner": {"kind": "none"},
        "parameters": {"training.learning_rate": {"log": [1e-5, 1e-1]}},
    }
    pretraining: Any = object()
    with pytest.raises(ConfigError, match="pretraining has no folds"):
        check_fold_search(validate_config(SearchSpace, plain, "the space"), pretraining)
