"""Choose the tracking backends of a recipe: MLflow, Weights & Biases, TensorBoard, or none.

`$MLFLOW_TRACKING_URI` takes precedence over the server that `kinesweep up` recorded. Only HTTP
servers are accepted: with a database file in the variable, every worker would open the database at
once. W&B takes mode, server, entity and key from its own variables (`WANDB_MODE`,
`WANDB_BASE_URL`, `WANDB_ENTITY`, `WANDB_API_KEY`) or from `wandb login`.
"""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from kinesweep.config.tracking import TrackerName, TrackingChoice
from kinesweep.core.errors import TrackingError
from kinesweep.tracking.backends import (
    CombinedTracker,
    MlflowTracker,
    NullTracker,
    QueueTracker,
    TensorBoardTracker,
    Tracker,
    WandbTracker,
)
from kinesweep.tracking.server import find_running_mlflow_server, is_mlflow_server_healthy

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
# W&B's own names of its modes; the last two are older ones of the first two.
_WANDB_MODES = {"online": "online", "offline": "offline", "run": "online", "dryrun": "offline"}


def resolve_tracker(choice: TrackingChoice, state_dir: Path, experiment: str) -> Tracker:
    """Choose the backends by which the runs of a recipe are recorded.

    MLflow's server is asked whether it is healthy, which takes up to 2 s. With `auto`, a known
    server that does not answer is used all the same: records are queued until it answers.

    Args:
        choice: Value of `Recipe.tracking`.
        state_dir: State folder, absolute.
        experiment: Name of the MLflow experiment and the W&B project; one per question.

    Returns:
        The backend, or a combination of several; one that records nothing for `none`, or for `auto`
        without a known server.

    Raises:
        TrackingError: If MLflow is named but no server is known or it does not answer, if
            `$MLFLOW_TRACKING_URI` does not contain the address of a server, if a package is
            missing, or if W&B would be used online without credentials or in a mode that it cannot
            be used in.
    """
    if choice == "none":
        return NullTracker()
    # `auto` means MLflow alone: W&B would upload data without having been asked.
    if choice == "auto":
        return _resolve_mlflow(state_dir, experiment, is_required=False)
    names: tuple[TrackerName, ...] = (choice,) if isinstance(choice, str) else choice
    trackers = [_resolve_named(name, state_dir, experiment) for name in names]
    return trackers[0] if len(trackers) == 1 else CombinedTracker(tuple(trackers))


def find_server_uri(state_dir: Path) -> str:
    """Return the address of the MLflow server that `resolve_tracker` uses; empty if none is known.

    Raises:
        TrackingError: If `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    return _find_server(state_dir)[0]


def _resolve_named(name: TrackerName, state_dir: Path, experiment: str) -> QueueTracker:
    """Return the backend of a name.

    Raises:
        TrackingError: If the backend cannot be used.
    """
    if name == "mlflow":
        tracker = _resolve_mlflow(state_dir, experiment, is_required=True)
        assert isinstance(tracker, MlflowTracker)
        return tracker
    # `kinesweep.tracking.wandb` and the package have the same name, but only one is at the top.
    if find_spec(name) is None:
        raise TrackingError(
            f"the recipe sets `tracking: {name}`, but the package `{name}` is not installed;"
            f" install it with `pip install 'kinesweep[{name}]'`, or name another tracker"
        )
    return TensorBoardTracker(experiment) if name == "tensorboard" else _resolve_wandb(experiment)


def _resolve_wandb(experiment: str) -> WandbTracker:
    """Return the backend for W&B with the mode and the server that its own settings name.

    Raises:
        TrackingError: If no credentials are known for the server, or the mode is unknown.
    """
    from kinesweep.tracking.wandb.sessions import has_credentials

    mode_name = os.environ.get("WANDB_MODE", "").strip() or "online"
    base_url = os.environ.get("WANDB_BASE_URL", "").strip().rstrip("/")
    if mode_name not in _WANDB_MODES:
        raise TrackingError(
            f"`WANDB_MODE` is `{mode_name}`, with which runs cannot be recorded; set it to `online`"
            " or `offline`, or leave `wandb` out of `tracking`"
        )
    if _WANDB_MODES[mode_name] == "offline":
        return WandbTracker(experiment, "offline", base_url)
    if not has_credentials(base_url):
        raise TrackingError(
            "the recipe sets `tracking: wandb`, but no API key for Weights & Biases is known; run"
            " `wandb login`, or set `WANDB_API_KEY`, or record on disk with `WANDB_MODE=offline`"
        )
    return WandbTracker(experiment, "online", base_url)


def _resolve_mlflow(
    state_dir: Path, experiment: str, is_required: bool
) -> NullTracker | MlflowTracker:
    """Return the backend for the known MLflow server.

    Args:
        state_dir: State folder, absolute.
        experiment: Name of the experiment.
        is_required: Whether a missing server is an error; otherwise nothing is recorded without
            one, and records are queued while it does not answer.

    Raises:
        TrackingError: If a server is required but not known or does not answer, or if
            `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    uri, origin = _find_server(state_dir)
    if not uri:
        reason = f"no MLflow server is running for `{state_dir}`; start one with `kinesweep up`"
        if is_required:
            raise TrackingError(
                f"the recipe sets `tracking: mlflow`, but {reason}. Or set `{_URI_VARIABLE}` to the"
                " address of another server, or set `tracking=none`"
            )
        return NullTracker(f"nothing is recorded in MLflow: {reason}")
    notice = ""
    if not is_mlflow_server_healthy(uri):
        notice = f"the MLflow server at {uri} ({origin}) does not answer"
        if is_required:
            raise TrackingError(f"{notice}; start it, or set `tracking=auto` or `tracking=none`")
        notice += "; records are stored on disk and sent once it does"
    return MlflowTracker(uri, experiment, state_dir / "services" / "tracking.lock", notice)


def _find_server(state_dir: Path) -> tuple[str, str]:
    """Find the MLflow server that `resolve_tracker` uses.

    Returns:
        The address of the server, empty if none is known; and where the address comes from, for
        messages.

    Raises:
        TrackingError: If `$MLFLOW_TRACKING_URI` does not contain the address of a server.
    """
    uri = os.environ.get(_URI_VARIABLE, "").strip().rstrip("/")
    if not uri:
        running_server = find_running_mlflow_server(state_dir)
        return (running_server.address if running_server else ""), "`kinesweep up`"
    if not re.match(r"https?://", uri):
        raise TrackingError(
            f"`{_URI_VARIABLE}` is `{uri}`, which is not the address of a server (http://…); unset"
            " it to use the server of `kinesweep up`, or set `tracking=none`"
        )
    return uri, _URI_VARIABLE
