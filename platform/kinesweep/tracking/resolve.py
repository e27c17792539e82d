"""Which tracking is meant: `auto`, `mlflow` or `none` of a recipe, as a factory of run logs.

`$MLFLOW_TRACKING_URI` goes before the server that `kinesweep up` recorded. Only servers are spoken
to: a database file in the variable would be opened by every worker at once.
"""

import os
import re
from pathlib import Path
from typing import Literal

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.runlog import NullRunLogFactory, RunLogFactory
from kinesweep.tracking.server import answers, running_server

_VARIABLE = "MLFLOW_TRACKING_URI"


def resolve_tracking(
    mode: Literal["auto", "mlflow", "none"], home: Path, experiment: str
) -> RunLogFactory | NullRunLogFactory:
    """The factory of run logs; `str` of it says what was chosen, `notice` what to mind.

    Args:
        mode: `Recipe.tracking`.
        home: the state folder, absolute; spools lie in it.
        experiment: name of the MLflow experiment, one a question.

    Raises:
        TrackingError: `mlflow` was asked for and there is no server that answers, or the variable
            does not name one.
    """
    if mode == "none":
        return NullRunLogFactory("`tracking: none`")
    uri, origin = _server(home)
    if uri is None:
        why = f"no MLflow server is running for `{home}` (`kinesweep up` starts one)"
        if mode == "mlflow":
            raise TrackingError(f"`tracking: mlflow`, but {why}, and `${_VARIABLE}` is not set")
        return NullRunLogFactory(why)
    notice = ""
    if not answers(uri):
        notice = f"the MLflow server at {uri} ({origin}) does not answer"
        if mode == "mlflow":
            raise TrackingError(f"{notice}; start it, or use `tracking: auto` or `none`")
        notice += "; what is measured is kept and sent once it does"
    return RunLogFactory(uri, experiment, _spools(home, experiment), notice)


def _server(home: Path) -> tuple[str | None, str]:
    """Address of the server that is meant, and where it is written."""
    uri = os.environ.get(_VARIABLE, "").strip().rstrip("/")
    if not uri:
        service = running_server(home)
        return (service.address if service else None), "`kinesweep up`"
    if not re.match(r"https?://", uri):
        raise TrackingError(
            f"`${_VARIABLE}` is `{uri}`, which is not the address of a server (http://…);"
            " unset it to use the server of `kinesweep up`, or set `tracking: none`"
        )
    return uri, f"`${_VARIABLE}`"


def _spools(home: Path, experiment: str) -> Path:
    return home / "tracking" / re.sub(r"[^A-Za-z0-9._-]", "_", experiment)[:100]
