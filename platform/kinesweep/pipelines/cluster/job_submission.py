"""Ray jobs: submit a command to a cluster, follow its log, return its exit code.

A busy job server drops connections, so submission is retried under the same job id and the end of a
job is polled separately from its log. Nothing is submitted twice.
"""

import secrets
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kinesweep.core.errors import ResourceError
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.cluster.job_package import (
    PackageMode,
    build_job_command,
    build_package_env,
)
from kinesweep.pipelines.cluster.job_parts import find_part_packages
from kinesweep.pipelines.cluster.ray_cluster import (
    HEAD_ADDRESS_VARIABLE,
    build_ray_env,
    find_running_head,
    get_dashboard_address,
)
from kinesweep.pipelines.cluster.ray_messages import iter_job_log_lines, mute_job_client_log
from kinesweep.pipelines.progress import show_sweep_progress

# A head that has just started has no agent for jobs for some seconds.
_AGENT_TIMEOUT_S = 60.0


def _write_to_stderr(text: str) -> None:
    """Write a text to `sys.stderr` as it is at the time of the call."""
    # A live display replaces `sys.stderr` while it is shown, so it must not be bound earlier.
    sys.stderr.write(text)


def run_ray_job(
    arguments: Sequence[str],
    address: str | None = None,
    sweep_dir: Path | None = None,
    *,
    package: PackageMode = "auto",
    python: str | None = None,
    write: Callable[[str], None] = _write_to_stderr,
    colors: bool = False,
) -> int:
    """Run `kinesweep ARGUMENTS` as a Ray job, copy its log as it grows, and wait for its end.

    The progress of the sweep that the job runs is shown meanwhile. An interrupt from the keyboard
    stops the job.

    Args:
        arguments: Command and its arguments, with absolute paths.
        address: Address of a Ray job server; None: the local head.
        sweep_dir: Folder of the sweep whose progress is shown, if this machine can read it; None:
            no progress is shown.
        package: Which Kinesweep the job runs.
        python: Interpreter on the cluster; None: this one on the local head, `python` elsewhere.
        write: Function that receives the job's log, a line with its line break at a time.
        colors: Whether color codes in the log are kept.

    Returns:
        0 if the job succeeded; otherwise the exit code of its process, or 1 if it has none.

    Raises:
        ResourceError: If no job server is known, if it does not answer, or if it refuses the job.
    """
    import asyncio

    from ray.job_submission import JobStatus

    mute_job_client_log()
    state_dir = get_state_dir()
    head = find_running_head(state_dir)
    if address is None and head is None:
        raise ResourceError("Ray is not running; start it with `kinesweep up` or pass `--address`")
    variables = build_ray_env(state_dir)
    if address is None and head is not None:
        variables[HEAD_ADDRESS_VARIABLE] = head.address
    client = _connect(get_dashboard_address(head) if address is None else address)  # type: ignore[arg-type]
    # The token's path is valid on this machine only; the cluster's own processes know theirs.
    env_vars = {name: value for name, value in variables.items() if "TOKEN_PATH" not in name}
    is_local = address is None
    command = build_job_command(arguments, is_local, python)
    start_time = time.time()
    # Ray's client reads the files while it submits; a retry reads them again.
    with TemporaryDirectory(prefix="kinesweep-job-") as staging_dir:
        runtime_env = build_package_env(
            package, is_local, python, find_part_packages(arguments), Path(staging_dir)
        )
        runtime_env["env_vars"] = env_vars | runtime_env.get("env_vars", {})
        job_id = _submit_with_retry(client, shlex.join(command), runtime_env)
    try:
        with show_sweep_progress(sweep_dir, start_time) if sweep_dir is not None else nullcontext():
            asyncio.run(_copy_job_log(client, job_id, write, colors))
    except KeyboardInterrupt:
        # The job is a process of the cluster and would continue without this one.
        client.stop_job(job_id)
        raise
    job_details = _wait_for_job_end(client, job_id)
    # A job that was killed has no exit code, and a failed job must not return 0.
    return 0 if job_details.status == JobStatus.SUCCEEDED else job_details.driver_exit_code or 1


def _connect(address: str) -> Any:
    """Connect to a job server and return its client.

    Raises:
        ResourceError: If the address is none of a job server, or if it does not answer.
    """
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    # Ray parses the address by several libraries, so an invalid one has many types of errors.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ResourceError(
            f"the job server `{address}` does not answer: {reason}; `--address` must be that of the"
            " dashboard of a Ray head, such as `http://head.example.org:8265`"
        ) from None


async def _copy_job_log(
    client: Any, job_id: str, write: Callable[[str], None], colors: bool = False
) -> None:
    """Copy a job's log as it grows, without Ray's own lines, until it ends or breaks off.

    Args:
        client: Client of the job server.
        job_id: Submission id of the job.
        write: Function that receives the lines, and a last line if the connection is lost.
        colors: Whether color codes in the log are kept.
    """
    from aiohttp import ClientError

    try:
        async for line in iter_job_log_lines(client.tail_job_logs(job_id), colors=colors):
            write(line)
    except (ClientError, RuntimeError) as error:  # Ray's client raises either
        write(f"the log stream broke off ({error}); waiting for the job to end\n")


def _wait_for_job_end(client: Any, job_id: str) -> Any:
    """Wait until a job has ended and return its details; the end of its log may come earlier.

    Raises:
        ResourceError: If the job server does not answer any request for 60 s.
    """
    from requests.exceptions import RequestException

    deadline = time.monotonic() + _AGENT_TIMEOUT_S
    while True:
        try:
            job_details = client.get_job_info(job_id)
        except RequestException as error:
            if time.monotonic() > deadline:
                raise ResourceError(f"the job server no longer answers: {error}") from None
        else:
            if job_details.status.is_terminal():
                return job_details
            # The time limit is on the server's silence, not on the job, which may take days.
            deadline = time.monotonic() + _AGENT_TIMEOUT_S
        time.sleep(1)


def _submit_with_retry(client: Any, entrypoint: str, runtime_env: dict[str, Any]) -> str:
    """Submit a job and return its id; try again for up to 60 s if the server is not ready.

    A head that has just started has no job agent yet, and a busy head may close a connection before
    it answers. The id is chosen here, so a retry finds a job that was accepted after all and does
    not submit it twice.

    Raises:
        ResourceError: If the server refuses the job, or is still not ready after 60 s.
    """
    from requests.exceptions import RequestException

    job_id = f"raysubmit_{secrets.token_hex(8)}"
    request = {"entrypoint": entrypoint, "runtime_env": runtime_env, "submission_id": job_id}
    deadline = time.monotonic() + _AGENT_TIMEOUT_S
    while True:
        try:
            return str(client.submit_job(**request))
        except (RuntimeError, RequestException) as error:
            if f"{job_id} already exists" in str(error):
                return job_id
            is_retryable = isinstance(error, RequestException) or "No available agent" in str(error)
            if not is_retryable or time.monotonic() > deadline:
                raise ResourceError(f"the job server refused the job: {error}") from None
            time.sleep(1)
