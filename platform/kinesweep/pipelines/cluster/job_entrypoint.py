"""First code of a job on another cluster: check the cluster's packages, then run the command line.

The text of this file is sent with the job, because the cluster may have no Kinesweep, or another
version of it. It therefore imports only the standard library and what Ray brings, and
reports every missing or unsuitable package at once instead of a traceback at the first import.
"""

import json
import os
import runpy
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


def find_problems(requirements: Sequence[str]) -> dict[str, str]:
    """Return each requirement that this interpreter does not meet, with a description.

    Args:
        requirements: Requirements of packages, such as `ray[tune]>=2.60,<2.61`.
    """
    from packaging.requirements import Requirement

    problems = {}
    for requirement in map(Requirement, requirements):
        # Extras are chosen by people, so nothing says whether this job needs them.
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        if found and requirement.specifier.contains(found, prereleases=True):
            continue
        state = f"is {found}" if found else "is not installed"
        # It holds here, and would only lengthen the command that installs the package.
        requirement.marker = None
        wanted = f", needs {requirement.specifier}" if requirement.specifier else ""
        problems[str(requirement)] = f"`{requirement.name}` {state}{wanted}"
    return problems


def find_package_problem(submitted_version: str) -> str:
    """Return why the package that this interpreter imports is unsuitable; "" if it is suitable.

    Args:
        submitted_version: Version of Kinesweep on the machine that submitted the job.
    """
    spec = find_spec("kinesweep")
    # A package without an origin is any folder of that name.
    if spec is None or spec.origin is None:
        return "Kinesweep is not installed there; submit with `--package upload`"
    # This file imports nothing. An upload has no metadata that could be asked instead.
    found = runpy.run_path(str(Path(spec.origin).with_name("version.py")))["__version__"]
    if found == submitted_version:
        return ""
    return (
        f"Kinesweep is {found} there, but {submitted_version} where the job was submitted;"
        " install the same version or submit with `--package upload`"
    )


def main() -> None:
    """Check the packages and run `kinesweep` with the arguments of this process."""
    submitted = json.loads(os.environ["KINESWEEP_SUBMITTED"])
    # Without Ray and `packaging`, this is not the interpreter that runs the cluster.
    if find_spec("ray") is None or find_spec("packaging") is None:
        problems = ["Ray is not installed there; name the cluster's interpreter by `--python PATH`"]
    else:
        package_problem = find_package_problem(submitted["version"])
        problems = [package_problem] * bool(package_problem)
        missing = find_problems(submitted["requirements"])
        problems += missing.values()
        if missing:
            words = [sys.executable, "-m", "pip", "install", *missing]
            problems.append(f"Run on each node: {shlex.join(words)}")
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        sys.stderr.write(
            f"ResourceError: `{sys.executable}` of the cluster cannot run it:{lines}\n"
        )
        sys.exit(2)
    # In this process, so that the job's signals and exit code are those of the command.
    runpy.run_module("kinesweep", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
