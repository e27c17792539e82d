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

from kinesweep.core.hashing import fingerprint
from kinesweep.tracking.offline_queue import Record

RUN_KEY = "kinesweep.run_key"
STATUS = "kinesweep.status"
PARENT = "mlflow.parentRunId"
_LIFE = "kinesweep.life"
_TABLES = "mlflow.loggedArtifacts"
_PAGE = 1000
MAX_METRICS, MAX_NAMES = 1000, 100
"""Entries allowed per call: metrics (and all kinds together); parameters, or tags."""
# Longest key, tag value and parameter value, in characters.
_MAX_KEY, _MAX_TAG, _MAX_PARAM = 250, 8000, 6000
_MAX_DIGEST = 36
# MLflow has no status for pruned or stopped runs; the exact one is kept in the tag `STATUS`.
_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
_ENV = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# Errors that a repetition of the same call would meet again.
_PERMANENT = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"})


class RequestRejectedError(Exception):
    """An error for a call that the server understood and will never accept.

    Args:
        message: Reason given by the server.
        gone: Whether the run does not exist.
    """

    def __init__(self, message: str, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class ServerUnavailableError(Exception):
    """An error for a server that is unavailable or unhealthy; a later attempt may succeed."""


def value_text(value: object) -> str:
    """Return a parameter as stored in MLflow: text unchanged, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    # The note on the original length takes up to 40 characters.
    return (
        text if len(text) <= _MAX_PARAM else f"{text[: _MAX_PARAM - 40]}… ({len(text)} characters)"
    )


def plain_key(name: str) -> str:
    """Return the name of a metric or parameter, reduced to the characters that MLflow allows."""
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)
    return allowed.strip("/. ")[:_MAX_KEY] or "_"


def plain_run_key(key: str) -> str:
    """Return a run's key without quotes, which MLflow's filters cannot express; still unique."""
    plain = re.sub(r"['\"\\`]", "_", key)
    return key if plain == key else f"{plain} {fingerprint(key)[:12]}"


class Wire:
    """A client for one MLflow server.

    Args:
        uri: Address of the server.
    """

    def __init__(self, uri: str) -> None:
        # Set before the import: MLflow reads some of these variables when it is imported.
        for name, value in _ENV.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; create it if missing, restore it if deleted."""
        found = self.call("get_experiment_by_name", name)
        if found is None:
            try:
                return str(self.call("create_experiment", name))
            except RequestRejectedError:  # another process has just created it
                found = self.call("get_experiment_by_name", name)
        if found.lifecycle_stage == "deleted":
            self.call("restore_experiment", found.experiment_id)
        return str(found.experiment_id)

    def run(
        self,
        experiment_id: str,
        run_key: str,
        life: str,
        tags: Mapping[str, str],
        lock: Path,
        began_ms: int,
    ) -> str:
        """Return the id of the run with a key; create the run if it is missing.

        A run that recorded another life of this key (whose folder has been removed since) remains,
        but loses the key. Processes that share `lock` create only one run.

        Args:
            experiment_id: Id of the experiment.
            run_key: Key of the run.
            life: Identifier of this recording, from the head of the spool.
            tags: Tags of a new run.
            lock: Lock file under which runs are created.
            began_ms: Start time of a new run in milliseconds since the epoch.
        """
        run_key = plain_run_key(run_key)
        with _exclusive_file_lock(lock):
            for found, its_life in self._find(experiment_id, run_key):
                # A run without a life was created by `parent` as a placeholder and is adopted here.
                if its_life in (life, None):
                    self.call("set_tag", found, _LIFE, life)
                    return found
                self.call("set_tag", found, RUN_KEY, f"{run_key} (until {found})")
            tags = {**tags, RUN_KEY: run_key, _LIFE: life}
            return str(self.call("create_run", experiment_id, began_ms, tags).info.run_id)

    def parent(self, experiment_id: str, run_key: str, lock: Path) -> str:
        """Return the id of a parent run; create it if missing, for its own log to adopt (`run`)."""
        with _exclusive_file_lock(lock):
            tags = {RUN_KEY: plain_run_key(run_key)}
            for found, _ in self._find(experiment_id, tags[RUN_KEY]):
                return found
            name = run_key.rstrip("/").rsplit("/", 1)[-1]
            made = self.call("create_run", experiment_id, tags=tags, run_name=name)
            return str(made.info.run_id)

    def experiment_id(self, name: str) -> str | None:
        """Return the id of an existing experiment, or None."""
        found = self.call("get_experiment_by_name", name)
        return None if found is None else str(found.experiment_id)

    def run_id(self, experiment_id: str, run_key: str) -> str | None:
        """Return the id of the run with a key, or None."""
        return next((run for run, _ in self._find(experiment_id, plain_run_key(run_key))), None)

    def children(self, experiment_id: str, parent: str) -> dict[str, str]:
        """Return the child runs of a run → their phase, oldest first."""
        asked = f"tags.`{PARENT}` = '{parent}'"
        found: dict[str, str] = {}
        page = None
        while True:
            runs = self.call(
                "search_runs",
                [experiment_id],
                asked,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=page,
            )
            found |= {run.info.run_id: run.data.tags.get("phase", "") for run in runs}
            page = runs.token
            if not page:
                return found

    def show(self, run_id: str, title: str, running: bool) -> None:
        """Set the title of a run; mark it as running or leave its status unchanged."""
        status = "RUNNING" if running else None
        self.call("update_run", run_id, status=status, name=title[:_MAX_KEY])

    def log_batch(self, run_id: str, records: Sequence[Record]) -> None:
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
        self.call("log_batch", run_id, metrics=metrics, params=params, tags=tags)

    def log_single(self, run_id: str, record: Record) -> None:
        """Send an artifact, a dataset or the final status."""
        if record.kind == "artifact":
            self._artifact(run_id, Path(record.value["path"]))
        elif record.kind == "dataset":
            self._dataset(run_id, **record.value)
        else:
            status = record.value["status"]
            # Before the end, so that a run that MLflow shows as terminated always has the exact
            # status.
            self.call("set_tag", run_id, STATUS, status)
            self.call("set_terminated", run_id, _STATUS[status], record.time_ms)

    def _find(self, experiment_id: str, run_key: str) -> list[tuple[str, str | None]]:
        """Return the runs with a key and the life that each recorded, oldest first."""
        found = self.call("search_runs", [experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'")
        # The run id breaks ties, so that all processes agree on the oldest run.
        found = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        return [(run.info.run_id, run.data.tags.get(_LIFE)) for run in found]

    def _artifact(self, run_id: str, path: Path) -> None:
        """Upload a file or folder; a table is also logged in MLflow's own format.

        Raises:
            RefusedError: If the file no longer exists.
        """
        if not path.exists():
            raise RequestRejectedError(f"`{path}` no longer exists")
        if path.is_dir():
            self.call("log_artifacts", run_id, str(path), path.name)
        else:
            self.call("log_artifact", run_id, str(path))
        if path.suffix == ".tsv":
            self._table(run_id, path)

    def _table(self, run_id: str, path: Path) -> None:
        """Log a TSV file as an MLflow table, which the UI can display and compare between runs."""
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
        if not lines:
            return
        heading, *rows = lines
        name = f"{path.stem}.json"
        # Not `log_table`, which appends: a repeated call would duplicate the rows.
        self.call("log_dict", run_id, {"columns": heading, "data": rows}, name)
        # The UI finds tables through this tag.
        tags = self.call("get_run", run_id).data.tags
        listed = json.loads(tags.get(_TABLES, "[]"))
        if (entry := {"path": name, "type": "table"}) not in listed:
            self.call("set_tag", run_id, _TABLES, json.dumps([*listed, entry]))

    def _dataset(self, run_id: str, name: str, digest: str) -> None:
        """Log a dataset as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow stores only 36 characters of a digest; the source holds the complete one.
        source = json.dumps({"fingerprint": digest})
        data = Dataset(name, digest[:_MAX_DIGEST], "kinesweep_store", source)
        tags = [InputTag("mlflow.data.context", "training")]
        self.call("log_inputs", run_id, datasets=[DatasetInput(data, tags)])

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client.

        Raises:
            RefusedError: If the server rejects the call permanently.
            AwayError: If the call fails in any other way.
        """
        from mlflow.exceptions import MlflowException, RestException

        try:
            return getattr(self._client, method)(*args, **kwargs)
        except MlflowException as error:
            # Only a `RestException` carries the server's answer; other codes are set by the client.
            code = str(error.error_code)
            if isinstance(error, RestException) and code in {
                *_PERMANENT,
                "RESOURCE_ALREADY_EXISTS",
            }:
                raise RequestRejectedError(
                    error.message, code == "RESOURCE_DOES_NOT_EXIST"
                ) from None
            raise ServerUnavailableError(error.message) from None
        except OSError as error:  # base class of the exceptions of `requests`
            raise ServerUnavailableError(str(error)) from None


@contextmanager
def _exclusive_file_lock(lock: Path) -> Iterator[None]:
    """Hold an exclusive file lock; wait while another process holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
