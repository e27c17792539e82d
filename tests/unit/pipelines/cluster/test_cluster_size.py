"""The size of a cluster, as given to `kinesweep plan --cluster`."""

import pytest

from kinesweep.core.errors import InputError
from kinesweep.pipelines.cluster.cluster_size import parse_cluster_size


@pytest.mark.parametrize("text", ["cpus=-4", "cpus=8,gpus=-1", "cpus=inf", "cpus=nan", "cpus=-inf"])
def test_an_impossible_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must be a number of at least 0"):
        parse_cluster_size(text)


def test_a_cluster_without_gpus_is_possible() -> None:
    assert parse_cluster_size("cpus=8,gpus=0") == {"CPU": 8.0, "GPU": 0.0}
