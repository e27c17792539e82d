"""The command `serve`: a bundle over HTTP and WebSocket, and its page."""

import math
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from kinesweep.cli.console import JsonOption, print_json_result, print_line, wrap_command
from kinesweep.cli.inference.device_option import parse_replica_device
from kinesweep.cli.inference.hub_options import RevisionOption
from kinesweep.cli.inference.options import AcceptRateOption
from kinesweep.cli.model_argument import BundleArgument
from kinesweep.core.errors import InputError
from kinesweep.core.system.devices import AUTO_DEVICE


@wrap_command
def serve(  # noqa: PLR0913 (options of a command)
    bundle: BundleArgument,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: a free one.")] = 8500,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token. Default: a new random token.", show_default=False),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Ask for no token; on loopback only.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=1, help="Number of copies of the model.")] = 1,
    cpus: Annotated[int, typer.Option(min=1, help="CPU cores of each replica.")] = 1,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda",
            callback=parse_replica_device,
            help="Device of the replicas; `auto`: GPUs if the cluster has some.",
        ),
    ] = AUTO_DEVICE,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of each replica, such as 1 or 0.25. Default: one, or equal parts of those"
            " that the cluster has.",
            show_default=False,
        ),
    ] = None,
    max_batch_size: Annotated[
        int, typer.Option(min=1, max=1024, help="Largest number of clips translated together.")
    ] = 16,
    batch_wait_ms: Annotated[
        float,
        typer.Option(min=0, max=60_000, help="Time that a clip waits for others."),
    ] = 10.0,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Largest number of requests in progress; others get 429.")
    ] = 64,
    max_body_mb: Annotated[
        float,
        typer.Option(min=0.001, max=4096, help="Largest body of a request in MiB."),
    ] = 64.0,
    max_duration: Annotated[
        float,
        typer.Option(min=0.1, max=86_400, help="Longest clip in seconds."),
    ] = 120.0,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=86_400,
            help="Limit for a translation in seconds.",
        ),
    ] = 120.0,
    body_timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=86_400,
            help="Limit for the arrival of a body in seconds.",
        ),
    ] = 60.0,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster. Default: the local Ray, or a new one."),
    ] = None,
    accept_rate: AcceptRateOption = False,
    estimator: Annotated[
        str | None,
        typer.Option(
            envvar="KINESWEEP_ESTIMATOR",
            help="Estimator of the poses of videos, by name, or a YAML file with"
            " `source.estimator`. Default: mediapipe, if its environment exists.",
            show_default=False,
        ),
    ] = None,
    revision: RevisionOption = None,
    json_line: JsonOption = False,
) -> None:
    """Serve a bundle with Ray Serve over HTTP and WebSocket, with a page, until Ctrl-C.

    Prints an address with the token, which opens the page. docs/serving.md describes the interface.

    Example: kinesweep serve .kinesweep/exports/sample --replicas 2
    """
    from kinesweep.export.hub.download import find_checked_bundle_dir
    from kinesweep.serving.limits import ServeLimits
    from kinesweep.serving.preparation import check_installation, choose_token

    check_installation()
    wanted_gpus = _parse_gpus(gpus, device)
    # Before the bundle is downloaded.
    token = choose_token(host, token_file, no_token)
    bundle_dir = find_checked_bundle_dir(bundle, revision)
    limits = ServeLimits(
        max_body_bytes=int(max_body_mb * 2**20),
        body_timeout_s=body_timeout,
        timeout_s=timeout,
        max_requests=max_requests,
        max_duration_s=max_duration,
        max_batch_size=max_batch_size,
        batch_wait_s=batch_wait_ms / 1000,
    )
    from kinesweep.serving.service import ServeRequest, serve_bundle  # imports Ray

    request = ServeRequest(
        *(bundle_dir, host, port, token, replicas, cpus, wanted_gpus),
        device=device,
        address=address,
        accept_rate=accept_rate,
        estimator=estimator,
        limits=limits,
    )
    serve_bundle(request, lambda url, seconds: _print_address(url, seconds, token, json_line))


def _parse_gpus(gpus: float | None, device: str) -> float | None:
    """Return the GPUs of a replica; None: they depend on the cluster.

    Raises:
        InputError: If Ray could not reserve them, or they contradict the device.
    """
    if gpus is None:
        return None
    if (device == "cpu" and gpus != 0) or (device == "cuda" and gpus == 0):
        raise InputError(
            f"`--gpus {gpus:g}` contradicts `--device {device}`; leave one of them out"
        )
    # Ray places a fraction on one GPU; 1.5 could be reserved on none.
    if not math.isfinite(gpus) or (gpus > 1 and gpus != int(gpus)):
        raise InputError(f"`--gpus` must be a fraction up to 1 or a whole number, but is {gpus:g}")
    return gpus


def _print_address(url: str, seconds: float, token: str | None, json_line: bool) -> None:
    """Print where the server is, and once its token.

    Args:
        url: Address of the server.
        seconds: Time of its start.
        token: Token of the server; None: it needs none.
        json_line: Whether to print it as JSON too.
    """
    # A token of a file may contain characters that have a meaning in addresses, such as `+`.
    page = url if token is None else f"{url}?token={quote(token, safe='')}"
    print_line(f"page    {page}")
    print_line(f"started in {seconds:.1f} s; Ctrl-C ends after the requests in progress")
    print_json_result({"url": url, "token": token, "page": page, "seconds": seconds}, json_line)
