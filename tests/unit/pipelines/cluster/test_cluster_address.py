"""A cluster that does not exist is an error after seconds, not after minutes of Ray."""

import socket

import pytest

from kinesweep.core.errors import ResourceError
from kinesweep.pipelines.cluster.cluster_address import check_cluster_address
from kinesweep.pipelines.cluster.ray_cluster import connect_to_ray


def test_an_address_where_nothing_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinesweep.pipelines.cluster.cluster_address._RETRY_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_cluster_address(address)
    for wrong in (address, "127.0.0.1:99999"):
        with pytest.raises(ResourceError, match=f"nothing listens at `{wrong}`.*`RAY_ADDRESS`"):
            check_cluster_address(wrong, timeout_s=0.1)


@pytest.mark.parametrize("address", ["auto", "local", "ray://127.0.0.1:1", "nonsense"])
def test_other_forms_are_left_to_ray(address: str) -> None:
    check_cluster_address(address)


def test_ray_is_not_asked_about_such_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str) -> None:
        raise ResourceError(address)

    module = "kinesweep.pipelines.cluster.ray_cluster"
    monkeypatch.setattr(f"{module}.check_cluster_address", refuse)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray was asked"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ResourceError, match=r"127\.0\.0\.1:1"):
        connect_to_ray()
