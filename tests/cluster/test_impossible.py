"""What a cluster can never hold is refused at once, not waited for."""

from pathlib import Path

import pytest

from corpus import tiny_recipe
from kinesweep.core.errors import ResourceError
from kinesweep.training.distributed.ray_train import train_on_ray
from kinesweep.training.loop.run import RunSpec


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus": 1}, "need 1, but the cluster has 0"),
        ({"workers": 3, "cpus": 1}, "need 3, but the cluster has 2"),
    ],
)
def test_workers_that_no_node_holds(
    tmp_path: Path, cluster: None, resources: dict[str, float], message: str
) -> None:
    recipe = tiny_recipe(tmp_path, tmp_path / "stores", resources=resources)
    with pytest.raises(ResourceError, match=message):
        train_on_ray(RunSpec(recipe, tmp_path / "store", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
