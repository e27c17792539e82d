"""The server of a bundle from its start to its end: Ray, Ray Serve, replicas, web server.

What is running already is used and kept: a Ray cluster, and Ray Serve with other applications.
Everything else is stopped at the end. The replicas are reached through handles of Ray Serve, so
its own HTTP proxies, which have neither token nor limits, are not started.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import ProxyLocation

from kinesweep.core.errors import KinesweepError, ResourceError, format_one_line
from kinesweep.core.system.devices import AUTO_DEVICE
from kinesweep.export.bundle_manifest import read_manifest_sha256
from kinesweep.pipelines.cluster.ray_cluster import connect_to_ray
from kinesweep.serving.accepted_inputs import AcceptedInputs
from kinesweep.serving.dispatch import Dispatcher
from kinesweep.serving.errors import ServingError
from kinesweep.serving.http.app import build_app
from kinesweep.serving.http.metrics import ServeMetrics
from kinesweep.serving.http.served_bundle import ServedBundle
from kinesweep.serving.http.server import open_socket, run_server
from kinesweep.serving.inference.upload_folder import remove_abandoned_folders
from kinesweep.serving.inference.video_poses import find_pose_estimator
from kinesweep.serving.limits import RequestGate, ServeLimits
from kinesweep.serving.replica import build_application
from kinesweep.serving.replica_settings import ReplicaSettings, choose_replica_gpus
from kinesweep.serving.signals import ended_by_signals, ignore_kill_signals

logger = logging.getLogger(__name__)

_CONTROLLER_NAME = "SERVE_CONTROLLER_ACTOR"
_CONTROLLER_NAMESPACE = "serve"
_DEPLOYMENT = "Replica"
# An answer takes milliseconds; the rest is for a machine that is busy.
_ANSWER_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class ServeRequest:
    """What `kinesweep serve` is asked for.

    Attributes:
        bundle_dir: Folder of the bundle.
        host: Host name or address to listen on.
        port: Port; 0: a free one.
        token: Token of the server; None: no token is needed.
        num_replicas: Number of replicas.
        cpus: CPU cores of each replica.
        gpus: GPUs of each replica, or a fraction of one; None: they depend on `device` and on the
            cluster.
        device: Device of the replicas: `auto`, `cpu` or `cuda`.
        address: Address of a Ray cluster; None: the local one, or a new one.
        accept_rate: Whether clips may have another frame rate than the training data.
        estimator: Name of an estimator or YAML file for videos.
        limits: Limits of the server.
    """

    bundle_dir: Path
    host: str = "127.0.0.1"
    port: int = 8500
    # Left out of the text of this object, which may end up in a log.
    token: str | None = field(default=None, repr=False)
    num_replicas: int = 1
    cpus: int = 1
    gpus: float | None = None
    device: str = AUTO_DEVICE
    address: str | None = None
    accept_rate: bool = False
    estimator: str | None = None
    limits: ServeLimits = field(default_factory=ServeLimits)


def serve_bundle(request: ServeRequest, on_ready: Callable[[str, float], None]) -> None:
    """Serve a bundle until Ctrl-C.

    Args:
        request: Bundle, address, resources and limits.
        on_ready: Function that is called with the address of the server and the seconds of its
            start when it accepts requests.

    Raises:
        BundleError: If the folder is not a bundle or is damaged.
        InputError: If the estimator is unknown or has no environment.
        ResourceError: If the cluster has too few cores or GPUs.
        ServingError: If the address is in use, or a replica does not start.
    """
    started_s = time.monotonic()
    inputs = _read_inputs(request)
    # Before Ray starts, which takes seconds: a port in use is then an error at once.
    listener = open_socket(request.host, request.port)
    with listener:
        port = listener.getsockname()[1]
        host = f"[{request.host}]" if ":" in request.host else request.host
        name = f"kinesweep-{inputs.name}-{port}-{os.getpid()}"
        with (
            ended_by_signals(),
            _connected(request.address),
            _deployed(request := _with_gpus(request), _build_settings(request), name) as handle,
        ):
            gate, metrics = RequestGate(request.limits), ServeMetrics()
            served = ServedBundle(
                inputs,
                request.limits,
                gate,
                metrics,
                Dispatcher(handle, request.limits, metrics.count_retry),
                partial(_is_ready, name),
                {"replicas": request.num_replicas, "gpus": request.gpus, "port": port},
            )
            # All ports of a host share their cookies, so each server has a cookie of its own.
            app = build_app(served, request.token, f"kinesweep_{port}")

            def announce() -> None:
                on_ready(f"http://{host}:{port}/", time.monotonic() - started_s)

            def drain() -> None:
                gate.is_draining = True
                logger.info(f"ending after {gate.num_requests} requests in progress")

            run_server(app, listener, request.limits, announce, drain)


def _read_inputs(request: ServeRequest) -> AcceptedInputs:
    """Read the inputs of the bundle, and find out whether poses of videos can be estimated."""
    inputs = AcceptedInputs.read(request.bundle_dir)
    if inputs.recipe.corpora[0].kind == "skeletons":
        return inputs
    if find_pose_estimator(request.estimator) is None:
        return inputs
    return AcceptedInputs.read(request.bundle_dir, estimates_poses=True)


def _build_settings(request: ServeRequest) -> ReplicaSettings:
    """Build the settings of the replicas, for the bundle as it is now."""
    return ReplicaSettings(
        bundle_dir=request.bundle_dir.resolve(),
        manifest_sha256=read_manifest_sha256(request.bundle_dir),
        cpus=request.cpus,
        gpus=request.gpus or 0.0,
        accept_rate=request.accept_rate,
        estimator=request.estimator,
        limits=request.limits,
    )


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Be connected to a Ray cluster in the `with` block.

    Raises:
        ServingError: If there is no cluster at the address.
    """
    if address is not None:
        os.environ["RAY_ADDRESS"] = address
    # Ray Serve's messages belong into its log files.
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    try:
        connect_to_ray()
    except (ConnectionError, ValueError, RuntimeError) as error:
        if isinstance(error, KinesweepError):
            raise
        reason = format_one_line(error)
        raise ServingError(f"cannot connect to Ray at `{address}`: {reason}") from None
    try:
        yield
    finally:
        # A cluster that this process started ends with its connection.
        ray.shutdown()
        # Of replicas that were killed, at the end of the cluster or before.
        remove_abandoned_folders()


def _with_gpus(request: ServeRequest) -> ServeRequest:
    """Return a request with the GPUs of each replica in the connected cluster; logs the device."""
    num_gpus = ray.cluster_resources().get("GPU", 0.0)
    gpus = choose_replica_gpus(request.device, request.gpus, request.num_replicas, num_gpus)
    logger.info(f"device: cuda ({gpus:g} GPUs of each replica)" if gpus else "device: cpu")
    return replace(request, gpus=gpus)


@contextmanager
def _deployed(request: ServeRequest, settings: ReplicaSettings, name: str) -> Iterator[Any]:
    """Run the replicas of a bundle in the `with` block, and yield their handle.

    Raises:
        ResourceError: If the cluster has too few cores or GPUs.
        ServingError: If a replica does not start.
    """
    _check_resources(request)
    # Before `serve.start`, which connects to a running Ray Serve without saying so.
    is_ours = not _is_serve_running()
    # Both log each step of the start, between which the address of the page would be lost.
    for logger_name in ("ray.serve", "ray"):
        logging.getLogger(logger_name).setLevel(logging.ERROR)
    try:
        if is_ours:
            serve.start(proxy_location=ProxyLocation.Disabled)
        try:
            application = build_application(settings, request.num_replicas)
            handle = serve.run(application, name=name, route_prefix=None)
        except RuntimeError as error:
            raise ServingError(
                f"the replicas of `{request.bundle_dir}` did not start: {_get_reason(name, error)}"
            ) from None
        _check_answer(handle)
        yield handle
    finally:
        _remove_application(name, is_ours)


def _check_answer(handle: Any) -> None:
    """Check that an answer of a replica reaches this process, which the start does not show.

    Replicas connect to this process for it. A cluster without tokens cannot, because this process
    asks for one unless the environment says otherwise; each request would then take too long.

    Raises:
        ServingError: If there is no answer in time.
    """
    try:
        handle.get_pid.remote().result(timeout_s=_ANSWER_TIMEOUT_S)
    except TimeoutError:
        mode = os.environ.get("RAY_AUTH_MODE", "")
        raise ServingError(
            f"the replicas run, but no answer came within {_ANSWER_TIMEOUT_S:g} s. If the cluster"
            f" uses no tokens, set `RAY_AUTH_MODE=disabled` (it is `{mode}`); otherwise check that"
            " its nodes can connect to this machine"
        ) from None


def _get_reason(name: str, error: Exception) -> str:
    """Return why the replicas of an application do not start: the last line of their error."""
    # Only a better text: without it, the error itself is shown.
    with suppress(Exception):
        application = serve.status().applications[name]
        messages = [one.message for one in application.deployments.values() if one.message]
        lines = [line for message in messages for line in message.splitlines() if line.strip()]
        named = [line for line in lines if "Error: " in line]
        if named:
            return named[-1].strip()
    return format_one_line(error)


def _remove_application(name: str, is_ours: bool) -> None:
    """Remove an application, and Ray Serve too if it was started here and runs nothing else."""
    with ignore_kill_signals(), suppress(Exception):  # the cluster may have ended first
        serve.delete(name)
        if is_ours and not serve.status().applications:
            serve.shutdown()


def _is_serve_running() -> bool:
    """Return whether Ray Serve runs on the cluster."""
    try:
        ray.get_actor(_CONTROLLER_NAME, namespace=_CONTROLLER_NAMESPACE)
    except ValueError:
        return False
    return True


def _check_resources(request: ServeRequest) -> None:
    """Check that all replicas fit into the cluster; Ray Serve would wait for more nodes.

    Raises:
        ResourceError: If the cluster has too few cores or GPUs in total.
    """
    total = ray.cluster_resources()
    for resource, each in (("CPU", request.cpus), ("GPU", request.gpus or 0.0)):
        wanted = each * request.num_replicas
        if wanted > total.get(resource, 0):
            raise ResourceError(
                f"{request.num_replicas} replicas with {each:g} {resource}s each need {wanted:g},"
                f" but the cluster has {total.get(resource, 0):g}; lower `--replicas` or"
                f" `--{resource.lower()}s`"
            )


async def _is_ready(name: str) -> bool:
    """Return whether a replica of an application is running."""
    try:
        status = await asyncio.to_thread(serve.status)
        states = status.applications[name].deployments[_DEPLOYMENT].replica_states
    except (KeyError, ray.exceptions.RayError, serve.exceptions.RayServeException):
        return False
    return states.get("RUNNING", 0) > 0
