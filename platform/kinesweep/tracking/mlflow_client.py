"""A client for an MLflow server that maps failures to two errors: rejected, or unavailable.

Every call can be repeated safely. MLflow's own client would retry a call for four minutes; this one
fails early and leaves the decision to the caller. The MLflow package (one second to import) is
loaded when a client is created; runs do this in a thread beside training.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesweep.core.io import hold_lock_file
from kinesweep.tracking.mlflow_limits import MAX_KEY_LENGTH, sanitize_run_key

RUN_KEY_TAG = "kinesweep.run_key"
PARENT_TAG = "mlflow.parentRunId"
_RECORDING_ID_TAG = "kinesweep.life"
# Number of runs in one answer of a search.
_PAGE_SIZE = 1000
_MLFLOW_ENV = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# Errors that a repetition of the same call would meet again.
_PERMANENT_ERRORS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"})


class RequestRejectedError(Exception):
    """Raised for a call that the server understood and will never accept.

    Args:
        message: Reason given by the server.
        is_run_missing: Whether the run does not exist.
    """

    def __init__(self, message: str, is_run_missing: bool = False) -> None:
        super().__init__(message)
        self.is_run_missing = is_run_missing


class ServerUnavailableError(Exception):
    """Raised for a server that is unavailable or unhealthy; a later attempt may succeed."""


class MlflowServerClient:
    """A client for one MLflow server.

    Creating it imports MLflow and sets those environment variables of MLflow that are not set yet,
    among them retries and timeout. Each method that calls the server raises `RequestRejectedError`
    or `ServerUnavailableError` as `call_client` does.

    Args:
        uri: Address of the server.
    """

    def __init__(self, uri: str) -> None:
        # Set before the import: MLflow reads some of these variables when it is imported.
        for name, value in _MLFLOW_ENV.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def get_or_create_experiment(self, name: str) -> str:
        """Return the id of the experiment `name`; create it if missing, restore it if deleted."""
        experiment = self.call_client("get_experiment_by_name", name)
        if experiment is None:
            try:
                return str(self.call_client("create_experiment", name))
            except RequestRejectedError:  # another process has just created it
                experiment = self.call_client("get_experiment_by_name", name)
        # A deleted experiment is found by its name too, so it is restored and not created again.
        if experiment.lifecycle_stage == "deleted":
            self.call_client("restore_experiment", experiment.experiment_id)
        return str(experiment.experiment_id)

    def get_or_create_run(
        self,
        experiment_id: str,
        run_key: str,
        recording_id: str,
        tags: Mapping[str, str],
        lock_path: Path,
        start_time_ms: int,
    ) -> str:
        """Return the id of the run with a key; create the run if it is missing.

        A run from an earlier recording with this key (whose folder has been removed since) remains,
        but loses the key. A run that `get_or_create_parent_run` created is taken over. Processes
        that share `lock_path` create only one run.

        Args:
            experiment_id: Id of the experiment.
            run_key: Key of the run.
            recording_id: Identifier of this recording, `life` in the header of the offline
                queue.
            tags: Tags of a new run.
            lock_path: Lock file under which runs are created.
            start_time_ms: Start time of a new run in milliseconds since the epoch.
        """
        run_key = sanitize_run_key(run_key)
        with hold_lock_file(lock_path):
            for run_id, existing_recording_id in self._find_runs(experiment_id, run_key):
                # `get_or_create_parent_run` creates runs without a recording id.
                if existing_recording_id in (recording_id, None):
                    self.call_client("set_tag", run_id, _RECORDING_ID_TAG, recording_id)
                    return run_id
                # Searches match whole keys, so the run with the changed key is not found again.
                self.call_client("set_tag", run_id, RUN_KEY_TAG, f"{run_key} (until {run_id})")
            tags = {**tags, RUN_KEY_TAG: run_key, _RECORDING_ID_TAG: recording_id}
            return str(
                self.call_client("create_run", experiment_id, start_time_ms, tags).info.run_id
            )

    def get_or_create_parent_run(self, experiment_id: str, run_key: str, lock_path: Path) -> str:
        """Return the id of the parent run with a key; create the run if it is missing.

        A new run is named after the last part of its key. It has no recording id;
        `get_or_create_run` takes it over once the parent is recorded.

        Args:
            experiment_id: Id of the experiment.
            run_key: Key of the parent run.
            lock_path: Lock file under which runs are created.
        """
        with hold_lock_file(lock_path):
            tags = {RUN_KEY_TAG: sanitize_run_key(run_key)}
            for run_id, _ in self._find_runs(experiment_id, tags[RUN_KEY_TAG]):
                return run_id
            name = run_key.rstrip("/").rsplit("/", 1)[-1]
            run = self.call_client("create_run", experiment_id, tags=tags, run_name=name)
            return str(run.info.run_id)

    def find_experiment_id(self, name: str) -> str | None:
        """Return the id of the experiment `name`; None if there is none or if it is deleted."""
        experiment = self.call_client("get_experiment_by_name", name)
        # The pages of a deleted experiment show nothing, so links to them would lead nowhere.
        if experiment is None or experiment.lifecycle_stage == "deleted":
            return None
        return str(experiment.experiment_id)

    def find_run_id(self, experiment_id: str, run_key: str) -> str | None:
        """Return the id of the oldest run with a key; None if the experiment has no such run."""
        runs = self._find_runs(experiment_id, sanitize_run_key(run_key))
        return runs[0][0] if runs else None

    def find_child_run_phases(self, experiment_id: str, parent_id: str) -> dict[str, str]:
        """Find the child runs of a run.

        Args:
            experiment_id: Id of the experiment.
            parent_id: Id of the parent run.

        Returns:
            Run id → value of its tag `phase` (empty without the tag), oldest run first.
        """
        filter_string = f"tags.`{PARENT_TAG}` = '{parent_id}'"
        phases: dict[str, str] = {}
        page_token = None
        while True:
            runs = self.call_client(
                "search_runs",
                [experiment_id],
                filter_string,
                max_results=_PAGE_SIZE,
                order_by=["attributes.start_time ASC"],
                page_token=page_token,
            )
            phases |= {run.info.run_id: run.data.tags.get("phase", "") for run in runs}
            page_token = runs.token
            if not page_token:
                return phases

    def update_run(self, run_id: str, title: str, running: bool) -> None:
        """Set the title of a run, cut to 250 characters, and mark it as running if requested.

        Args:
            run_id: Id of the run.
            title: Name shown in the UI.
            running: Whether to mark the run as running; False leaves its status unchanged.
        """
        status = "RUNNING" if running else None
        self.call_client("update_run", run_id, status=status, name=title[:MAX_KEY_LENGTH])

    def _find_runs(self, experiment_id: str, run_key: str) -> list[tuple[str, str | None]]:
        """Return the runs with a key, oldest first.

        Args:
            experiment_id: Id of the experiment.
            run_key: Key of the runs, sanitized.

        Returns:
            Pairs (run id, recording id); the recording id of a run that was not recorded is None.
        """
        runs = self.call_client(
            "search_runs", [experiment_id], f"tags.`{RUN_KEY_TAG}` = '{run_key}'"
        )
        # The run id breaks ties, so that all processes agree on the oldest run.
        runs = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        return [(run.info.run_id, run.data.tags.get(_RECORDING_ID_TAG)) for run in runs]

    def call_client(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client and return its result.

        Args:
            method: Name of the method of `mlflow.MlflowClient`.
            *args: Positional arguments of the method.
            **kwargs: Keyword arguments of the method.

        Raises:
            RequestRejectedError: If the server rejects the call permanently.
            ServerUnavailableError: If the call fails in any other way.
        """
        from mlflow.exceptions import MlflowException, RestException

        try:
            return getattr(self._client, method)(*args, **kwargs)
        except MlflowException as error:
            # Only a `RestException` carries the server's answer; other codes are set by the client.
            code = str(error.error_code)
            if isinstance(error, RestException) and code in {
                *_PERMANENT_ERRORS,
                # Final for a call that creates something: callers then use what exists.
                "RESOURCE_ALREADY_EXISTS",
            }:
                raise RequestRejectedError(
                    error.message, code == "RESOURCE_DOES_NOT_EXIST"
                ) from None
            raise ServerUnavailableError(error.message) from None
        except OSError as error:  # base class of the exceptions of `requests`
            raise ServerUnavailableError(str(error)) from None
