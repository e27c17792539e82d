"""The GPUs of replicas, as `--device`, `--gpus` and the cluster say."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.core.errors import ResourceError
from kinesweep.serving import service
from kinesweep.serving.replica_settings import choose_replica_gpus
from kinesweep.serving.service import ServeRequest, _check_resources, _with_gpus


@pytest.mark.parametrize(
    ("device", "gpus", "replicas", "there", "chosen"),
    [
        *[("auto", None, 1, 0, 0.0), ("auto", None, 2, 2, 1.0), ("auto", None, 3, 8, 1.0)],
        *[("auto", None, 2, 1, 0.5), ("auto", None, 3, 1, 0.3333), ("auto", None, 5, 2, 0.3333)],
        *[("auto", 0.0, 1, 4, 0.0), ("auto", 0.25, 1, 0, 0.25), ("cpu", None, 1, 4, 0.0)],
        *[("cuda", None, 1, 4, 1.0), ("cuda", None, 1, 0, 1.0), ("cuda", 0.5, 1, 4, 0.5)],
    ],
)
def test_the_gpus_of_a_replica(
    device: str, gpus: float | None, replicas: int, there: float, chosen: float
) -> None:
    assert choose_replica_gpus(device, gpus, replicas, there) == chosen
    # All replicas fit, on each GPU a whole number of them.
    assert chosen * replicas <= max(there, chosen)


def test_the_device_is_said_and_a_missing_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resources = {"CPU": 4.0}
    monkeypatch.setattr(service.ray, "cluster_resources", lambda: resources)
    caplog.set_level("INFO", "kinesweep")
    request = ServeRequest(Path("bundle"), num_replicas=2)
    assert _with_gpus(request).gpus == 0
    with pytest.raises(ResourceError, match="1 replicas with 1 GPUs each need 1"):
        _check_resources(_with_gpus(ServeRequest(Path("bundle"), device="cuda")))
    resources["GPU"] = 1.0
    found = _with_gpus(request)
    _check_resources(found)
    assert found.gpus == 0.5
    said = ["device: cpu", "device: cuda (1 GPUs of each replica)"]
    assert caplog.messages == [*said, "device: cuda (0.5 GPUs of each replica)"]


@pytest.mark.parametrize(("device", "gpus"), [("cpu", "1"), ("cuda", "0")])
def test_a_device_and_gpus_that_contradict_each_other(device: str, gpus: str) -> None:
    told = CliRunner().invoke(app, ["serve", "nowhere", "--device", device, "--gpus", gpus])
    assert told.exit_code == 2
    assert f"`--gpus {gpus}` contradicts `--device {device}`" in " ".join(told.output.split())
