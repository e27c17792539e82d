"""The MLflow runs of a sweep: one parent run, with a child run for each training run.

Runs are found by the key of the parent run. Nothing is created, so asking for a sweep that was
never recorded leaves no trace on the server.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.mlflow_client import (
    MlflowServerClient,
    RequestRejectedError,
    ServerUnavailableError,
)


@dataclass(frozen=True)
class SweepRuns:
    """The ids of the MLflow runs of a sweep.

    Attributes:
        experiment_id: Id of the experiment.
        parent_run_id: Id of the parent run.
        child_phases: Id of a child run → its phase, `search` or `finals`, or empty if it has none;
            oldest run first.
    """

    experiment_id: str
    parent_run_id: str
    child_phases: Mapping[str, str]


def query_sweep_runs(uri: str, experiment: str, run_key: str) -> SweepRuns:
    """Query an MLflow server for the parent run of a sweep and its child runs.

    Args:
        uri: Address of the server.
        experiment: Name of the experiment, that is, the question of the sweep.
        run_key: Key of the parent run: the path of the sweep folder.

    Raises:
        TrackingError: If the server does not answer, rejects a request or has no such sweep.
    """
    with _report_failed_requests(uri):
        client = MlflowServerClient(uri)
        experiment_id, parent_run_id = _find_parent_run(client, uri, experiment, run_key)
        child_phases = client.find_child_run_phases(experiment_id, parent_run_id)
    return SweepRuns(experiment_id, parent_run_id, child_phases)


def find_parent_run_id(uri: str, experiment: str, run_key: str) -> str:
    """Query an MLflow server for the id of the parent run of a sweep.

    Args:
        uri: Address of the server.
        experiment: Name of the experiment, that is, the question of the sweep.
        run_key: Key of the parent run: the path of the sweep folder.

    Raises:
        TrackingError: If the server does not answer, rejects a request or has no such sweep.
    """
    with _report_failed_requests(uri):
        return _find_parent_run(MlflowServerClient(uri), uri, experiment, run_key)[1]


def set_experiment_tag(uri: str, experiment_id: str, key: str, value: str) -> None:
    """Set a tag of an experiment, or replace it.

    Raises:
        TrackingError: If the server does not answer or rejects the request.
    """
    with _report_failed_requests(uri):
        MlflowServerClient(uri).call_client("set_experiment_tag", experiment_id, key, value)


def _find_parent_run(
    client: MlflowServerClient, uri: str, experiment: str, run_key: str
) -> tuple[str, str]:
    """Find the experiment and the parent run of a sweep.

    Args:
        client: Client of the server.
        uri: Address of the server, for the error message.
        experiment: Name of the experiment.
        run_key: Key of the parent run.

    Returns:
        The id of the experiment and the id of the parent run.

    Raises:
        ServerUnavailableError: If the server does not answer.
        TrackingError: If the server has no such sweep.
    """
    experiment_id = client.find_experiment_id(experiment)
    run_id = client.find_run_id(experiment_id, run_key) if experiment_id else None
    if experiment_id is None or run_id is None:
        raise TrackingError(
            f"the MLflow server at {uri} has no run of this sweep; the sweep may have used another"
            " server or `tracking=none`"
        )
    return experiment_id, run_id


@contextmanager
def _report_failed_requests(uri: str) -> Iterator[None]:
    """Convert a failed request of the `with` block to an error message for the user.

    Raises:
        TrackingError: If the server does not answer or rejects a request.
    """
    try:
        yield
    except ServerUnavailableError as error:
        raise TrackingError(f"the MLflow server at {uri} does not answer: {error}") from None
    except RequestRejectedError as error:
        raise TrackingError(f"the MLflow server at {uri} rejected the request: {error}") from None
