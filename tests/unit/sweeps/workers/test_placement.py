"""How many runs fit, and what is said when none does."""

import pytest
from pydantic import ValidationError

from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.core.errors import ResourceError
from kinesweep.sweeps.workers.placement import count_slots


@pytest.mark.parametrize(
    ("resources", "nodes", "fit"),
    [
        ({"cpus": 1}, [{"CPU": 4}], 4),
        ({"cpus": 3}, [{"CPU": 4}, {"CPU": 4}], 2),
        ({"workers": 2, "cpus": 3}, [{"CPU": 4}, {"CPU": 4}], 1),
        ({"gpus": 0.5}, [{"CPU": 16, "GPU": 2}], 4),
        ({"gpus": 0.4}, [{"CPU": 16, "GPU": 2}], 4),
        ({"gpus": 0.3}, [{"CPU": 4, "GPU": 2}], 4),
        ({"gpus": 1, "cpus": 4}, [{"CPU": 8, "GPU": 4}, {"CPU": 64}], 2),
        ({"gpus": 2}, [{"CPU": 8, "GPU": 3}], 1),
        ({"gpus": 0.1}, [{"CPU": 99, "GPU": 1}], 10),
    ],
)
def test_runs_at_a_time(
    resources: dict[str, float], nodes: list[dict[str, float]], fit: int
) -> None:
    assert count_slots(ResourcesConfig.model_validate(resources), nodes) == fit


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"cpus": 9}, "needs 1 × (9 CPU), but the cluster has 4 CPU, 1 GPU"),
        ({"workers": 9}, "`resources.workers: 4` would fit"),
        ({"gpus": 2}, "lower `resources.cpus` or `resources.gpus`"),
    ],
)
def test_what_never_fits_says_what_would(resources: dict[str, float], said: str) -> None:
    with pytest.raises(ResourceError) as caught:
        count_slots(ResourcesConfig.model_validate(resources), [{"CPU": 4, "GPU": 1}])
    assert said in str(caught.value)


def test_one_and_a_half_gpus_are_refused() -> None:
    with pytest.raises(ValidationError, match="whole number"):
        ResourcesConfig.model_validate({"gpus": 1.5})
