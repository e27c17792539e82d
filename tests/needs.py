"""Programs of the system that some tests need."""

import os
import shutil

import pytest

_VARIABLE = "KINESWEEP_NEEDS"


def need(program: str, *elsewhere: str) -> str:
    """Path of a program, on the path or at one of the other places.

    Where it is missing the test is skipped with the reason, unless `$KINESWEEP_NEEDS` names it (as
    `.ci/run` does): there it must be.
    """
    found = shutil.which(program) or next((p for p in elsewhere if os.access(p, os.X_OK)), None)
    if found is not None:
        return found
    reason = f"{program} is not installed (apt-get install {program})"
    if program in os.environ.get(_VARIABLE, "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)
