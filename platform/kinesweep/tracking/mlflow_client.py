"""A client for an MLflow server that maps failures to two errors: refused, or unavailable.

Every call can be repeated safely. MLflow's own client would retry a call for four minutes; this one
fails early and leaves the decision to the caller. The MLflow package (one second to import) is
loaded when a client is created; runs do this in a thread beside training.
"""

import csv
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kinesweep.core.hashing import compute_fingerprint
from kinesweep.tracking.offline_queue import QueuedRecord

RUN_KEY_TAG = "kinesweep.run_key"
STATUS_TAG = "kinesweep.status"
PARENT_TAG = "mlflow.parentRunId"
_RECORDING_ID_TAG = "kinesweep.life"
_TABLES_TAG = "mlflow.loggedArtifacts"
_PAGE_SIZE = 1000
MAX_METRICS, MAX_PARAMS_OR_TAGS = 1000, 100
"""Entries allowed per call: metrics (and all kinds together); parameters, or tags."""
# Longest key, tag value and parameter value, in characters.
_MAX_KEY, _MAX_TAG, _MAX_PARAM = 250, 8000, 6000
_MAX_DIGEST = 36
# MLflow has no status for pruned or stopped runs; the exact one is kept in the tag `STATUS`.
_MLFLOW_STATUSES = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "failed": "FAILED",
}
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
    """An error for a call that the server understood and will never accept.

    Args:
        message: Reason given by the server.
        is_run_missing: Whether the run does not exist.
    """

    def __init__(self, message: str, is_run_missing: bool = False) -> None:
        super().__init__(message)
        self.is_run_missing = is_run_missing


class ServerUnavailableError(Exception):
    """An error for a server that is unavailable or unhealthy; a later attempt may succeed."""


def format_param_value(value: object) -> str:
    """Return a parameter as stored in MLflow: text unchanged, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    # The note on the original length takes up to 40 characters.
    return (
        text if len(text) <= _MAX_PARAM else f"{text[: _MAX_PARAM - 40]}… ({len(text)} characters)"
    )


def sanitize_key(name: str) -> str:
    """Return the name of a metric or parameter, reduced to the characters that MLflow allows."""
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)
    return allowed.strip("/. ")[:_MAX_KEY] or "_"


def sanitize_run_key(key: str) -> str:
    """Return a run's key without quotes, which MLflow's filters cannot express; still unique."""
    sanitized = re.sub(r"['\"\\`]", "_", key)
    return key if sanitized == key else f"{sanitized} {compute_fingerprint(key)[:12]}"


class MlflowServerClient:
    """A client for one MLflow server.

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
        """Return the id of an experiment; create it if missing, restore it if deleted."""
        found = self.call_client("get_experiment_by_name", name)
        if found is None:
            try:
                return str(self.call_client("create_experiment", name))
            except RequestRejectedError:  # another process has just created it
                found = self.call_client("get_experiment_by_name", name)
        if found.lifecycle_stage == "deleted":
            self.call_client("restore_experiment", found.experiment_id)
        return str(found.experiment_id)

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
        but loses the key. Processes that share `lock_path` create only one run.

        Args:
            experiment_id: Id of the experiment.
            run_key: Key of the run.
            recording_id: Identifier of this recording, from the head of the spool.
            tags: Tags of a new run.
            lock_path: Lock file under which runs are created.
            start_time_ms: Start time of a new run in milliseconds since the epoch.
        """
        run_key = sanitize_run_key(run_key)
        with _hold_file_lock(lock_path):
            for run_id, found_recording_id in self._find_runs(experiment_id, run_key):
                # `get_or_create_parent_run` creates runs without a recording id; adopt them.
                if found_recording_id in (recording_id, None):
                    self.call_client("set_tag", run_id, _RECORDING_ID_TAG, recording_id)
                    return run_id
                self.call_client("set_tag", run_id, RUN_KEY_TAG, f"{run_key} (until {run_id})")
            tags = {**tags, RUN_KEY_TAG: run_key, _RECORDING_ID_TAG: recording_id}
            return str(
                self.call_client("create_run", experiment_id, start_time_ms, tags).info.run_id
            )

    def get_or_create_parent_run(self, experiment_id: str, run_key: str, lock_path: Path) -> str:
        """Return the id of a parent run; create it if missing, for its own log to adopt (`run`)."""
        with _hold_file_lock(lock_path):
            tags = {RUN_KEY_TAG: sanitize_run_key(run_key)}
            for run_id, _ in self._find_runs(experiment_id, tags[RUN_KEY_TAG]):
                return run_id
            name = run_key.rstrip("/").rsplit("/", 1)[-1]
            created = self.call_client("create_run", experiment_id, tags=tags, run_name=name)
            return str(created.info.run_id)

    def find_experiment_id(self, name: str) -> str | None:
        """Return the id of an existing experiment, or None."""
        found = self.call_client("get_experiment_by_name", name)
        return None if found is None else str(found.experiment_id)

    def find_run_id(self, experiment_id: str, run_key: str) -> str | None:
        """Return the id of the run with a key, or None."""
        return next(
            (run for run, _ in self._find_runs(experiment_id, sanitize_run_key(run_key))), None
        )

    def find_child_runs(self, experiment_id: str, parent_id: str) -> dict[str, str]:
        """Return the child runs of a run → their phase, oldest first."""
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
        """Set the title of a run; mark it as running or leave its status unchanged."""
        status = "RUNNING" if running else None
        self.call_client("update_run", run_id, status=status, name=title[:_MAX_KEY])

    def log_batch(self, run_id: str, records: Sequence[QueuedRecord]) -> None:
        """Send tags, parameters and metrics in one call."""
        from mlflow.entities import Metric, Param, RunTag

        metrics, params, tags = [], [], []
        for record in records:
            items = record.value.items()
            if record.kind == "metrics":
                metrics += [Metric(k, v, record.time_ms, record.step) for k, v in items]
            elif record.kind == "params":
                params += [Param(k, v) for k, v in items]
            else:
                tags += [RunTag(k, v[:_MAX_TAG]) for k, v in items]
        self.call_client("log_batch", run_id, metrics=metrics, params=params, tags=tags)

    def log_record(self, run_id: str, record: QueuedRecord) -> None:
        """Send an artifact, a dataset or the final status."""
        if record.kind == "artifact":
            self._log_artifact(run_id, Path(record.value["path"]))
        elif record.kind == "dataset":
            self._log_dataset(run_id, **record.value)
        else:
            status = record.value["status"]
            # Before the end, so that a run that MLflow shows as terminated always has the exact
            # status.
            self.call_client("set_tag", run_id, STATUS_TAG, status)
            self.call_client("set_terminated", run_id, _MLFLOW_STATUSES[status], record.time_ms)

    def _find_runs(self, experiment_id: str, run_key: str) -> list[tuple[str, str | None]]:
        """Return the runs with a key and the life that each recorded, oldest first."""
        runs = self.call_client(
            "search_runs", [experiment_id], f"tags.`{RUN_KEY_TAG}` = '{run_key}'"
        )
        # The run id breaks ties, so that all processes agree on the oldest run.
        runs = sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
        return [(run.info.run_id, run.data.tags.get(_RECORDING_ID_TAG)) for run in runs]

    def _log_artifact(self, run_id: str, path: Path) -> None:
        """Upload a file or folder; a table is also logged in MLflow's own format.

        Raises:
            RequestRejectedError: If the file no longer exists.
        """
        if not path.exists():
            raise RequestRejectedError(f"`{path}` no longer exists")
        if path.is_dir():
            self.call_client("log_artifacts", run_id, str(path), path.name)
        else:
            self.call_client("log_artifact", run_id, str(path))
        if path.suffix == ".tsv":
            self._log_table(run_id, path)

    def _log_table(self, run_id: str, path: Path) -> None:
        """Log a TSV file as an MLflow table, which the UI can display and compare between runs."""
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
        if not lines:
            return
        columns, *rows = lines
        name = f"{path.stem}.json"
        # Not `log_table`, which appends: a repeated call would duplicate the rows.
        self.call_client("log_dict", run_id, {"columns": columns, "data": rows}, name)
        # The UI finds tables through this tag.
        tags = self.call_client("get_run", run_id).data.tags
        logged_tables = json.loads(tags.get(_TABLES_TAG, "[]"))
        if (entry := {"path": name, "type": "table"}) not in logged_tables:
            self.call_client("set_tag", run_id, _TABLES_TAG, json.dumps([*logged_tables, entry]))

    def _log_dataset(self, run_id: str, name: str, digest: str) -> None:
        """Log a dataset as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow stores only 36 characters of a digest; the source holds the complete one.
        source = json.dumps({"fingerprint": digest})
        data = Dataset(name, digest[:_MAX_DIGEST], "kinesweep_store", source)
        tags = [InputTag("mlflow.data.context", "training")]
        self.call_client("log_inputs", run_id, datasets=[DatasetInput(data, tags)])

    def call_client(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client.

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
                "RESOURCE_ALREADY_EXISTS",
            }:
                raise RequestRejectedError(
                    error.message, code == "RESOURCE_DOES_NOT_EXIST"
                ) from None
            raise ServerUnavailableError(error.message) from None
        except OSError as error:  # base class of the exceptions of `requests`
            raise ServerUnavailableError(str(error)) from None


@contextmanager
def _hold_file_lock(lock_path: Path) -> Iterator[None]:
    """Hold an exclusive file lock; wait while another process holds it."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
