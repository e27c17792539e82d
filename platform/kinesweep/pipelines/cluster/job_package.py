"""Kinesweep's own code for a job: what the cluster runs, and whether it is uploaded with the job.

The local head was started from this installation, so its jobs import it as it is. Another cluster
may have no Kinesweep or another version: the folder of the package (5.3 MB, which Ray does not
compress) is uploaded to Ray, which puts it before all other packages in the driver and in every
worker of the job. An upload that the cluster already has is found by its hash and not sent again.
"""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, requires
from pathlib import Path
from typing import Any, Literal

from kinesweep.pipelines.cluster.job_parts import list_part_requirements, stage_packages
from kinesweep.version import __version__

PackageMode = Literal["auto", "installed", "upload"]
"""Which Kinesweep a job runs: `installed` on the cluster, `upload` of this one, or `auto`: the
installed one on the local head and an upload elsewhere."""
_CODE_VARIABLE = "KINESWEEP_JOB_ENTRYPOINT"
_PACKAGE_DIR = Path(__file__).resolve().parents[2]


def build_job_command(arguments: Sequence[str], is_local: bool, python: str | None) -> list[str]:
    """Build the command of a job that runs `kinesweep ARGUMENTS`.

    Args:
        arguments: Command of Kinesweep and its arguments.
        is_local: Whether the job runs on the local head, whose packages are the ones of this
            process.
        python: Interpreter on the cluster; None: this one on the local head, `python` elsewhere.
    """
    # By its path: `python` on the PATH of the head may be another interpreter.
    if _runs_this_installation(is_local, python):
        return [sys.executable, "-m", "kinesweep", *arguments]
    # Ray copies the command into the job's log, so the code itself is sent as a variable.
    code = f"import os; exec(os.environ['{_CODE_VARIABLE}'])"
    return [python or "python", "-c", code, *arguments]


def build_package_env(
    mode: PackageMode,
    is_local: bool,
    python: str | None,
    part_packages: Sequence[Distribution],
    staging_dir: Path,
) -> dict[str, Any]:
    """Build the part of a job's `runtime_env` that brings Kinesweep to all of its processes.

    Args:
        mode: Which Kinesweep the job runs.
        is_local: Whether the job runs on the local head.
        python: Interpreter on the cluster, as for `build_job_command`.
        part_packages: Packages whose parts the job uses.
        staging_dir: Empty folder for files to upload, needed until the job is submitted.
    """
    # The code of the checks is 4 kB of each process's environment, so it is left out if unused.
    runtime_env: dict[str, Any] = {}
    if not _runs_this_installation(is_local, python):
        requirements = [*_list_requirements(), *list_part_requirements(part_packages)]
        submitted = {"version": __version__, "requirements": requirements}
        code = Path(__file__).with_name("job_entrypoint.py").read_text(encoding="utf-8")
        variables = {_CODE_VARIABLE: code, "KINESWEEP_SUBMITTED": json.dumps(submitted)}
        runtime_env["env_vars"] = variables
    if mode == "upload" or (mode == "auto" and not is_local):
        part_folders = stage_packages(part_packages, staging_dir)
        # Bytecode changes while it is in use; Ray would take each state for another upload.
        runtime_env |= {"py_modules": [str(_PACKAGE_DIR), *part_folders]}
        runtime_env |= {"excludes": ["__pycache__"]}
    return runtime_env


def _runs_this_installation(is_local: bool, python: str | None) -> bool:
    """Return whether a job runs in the environment of this process, which needs no checks."""
    return is_local and python is None


def _list_requirements() -> list[str]:
    """Return the requirements of this installation, without extras; [] if it has no metadata."""
    try:
        lines = requires("kinesweep") or []
    except PackageNotFoundError:  # a checkout on PYTHONPATH, or itself an upload
        return []
    return [line for line in lines if "extra ==" not in line]
