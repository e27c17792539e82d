"""What is said to an MLflow server, and how its answers are understood.

Every call here is safe to repeat. MLflow's client would try a call again for four minutes; here it
fails soon and the caller decides. The client (a second to import) is loaded with the first call,
which happens beside training.
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
from kinesweep.tracking.spool import Record

RUN_KEY = "kinesweep.run_key"
STATUS = "kinesweep.status"
PARENT = "mlflow.parentRunId"
_LIFE = "kinesweep.life"
_TABLES = "mlflow.loggedArtifacts"
_PAGE = 1000
MAX_METRICS, MAX_NAMES = 1000, 100
"""Entries that one call may carry: metrics (and everything together); parameters or tags."""
_MAX_KEY, _MAX_TAG, _MAX_PARAM = 250, 8000, 6000
_MAX_DIGEST = 36
_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
_ENV = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PERMANENT = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"})


class RefusedError(Exception):
    """The server understood a call and will never accept it.

    Args:
        message: its reason.
        gone: whether the run is not there.
    """

    def __init__(self, message: str, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class AwayError(Exception):
    """The server did not answer as a healthy one would; later it may."""


def value_text(value: object) -> str:
    """A parameter as MLflow keeps it: text as it is, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return (
        text if len(text) <= _MAX_PARAM else f"{text[: _MAX_PARAM - 40]}… ({len(text)} characters)"
    )


def plain_key(name: str) -> str:
    """A name of a metric or parameter in the characters that MLflow allows."""
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)
    return allowed.strip("/. ")[:_MAX_KEY] or "_"


def plain_run_key(key: str) -> str:
    """A run's key without the quotes that MLflow's filters cannot express; still unique."""
    plain = re.sub(r"['\"\\`]", "_", key)
    return key if plain == key else f"{plain} {fingerprint(key)[:12]}"


class Wire:
    """One MLflow server.

    Args:
        uri: its address.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _ENV.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def experiment(self, name: str) -> str:
        """Id of an experiment; made when missing, brought back when deleted."""
        found = self.call("get_experiment_by_name", name)
        if found is None:
            try:
                return str(self.call("create_experiment", name))
            except RefusedError:  # another process was quicker
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
        """Id of the run with a key, made when missing; `tags` and its beginning are set when it is.

        A run with this key that another life of it recorded (its folder was removed since) stays,
        but loses the key. Processes that share the file `lock` make one run.
        """
        run_key = plain_run_key(run_key)
        with _alone(lock):
            for found, its_life in self._find(experiment_id, run_key):
                if its_life in (life, None):
                    self.call("set_tag", found, _LIFE, life)
                    return found
                self.call("set_tag", found, RUN_KEY, f"{run_key} (until {found})")
            tags = {**tags, RUN_KEY: run_key, _LIFE: life}
            return str(self.call("create_run", experiment_id, began_ms, tags).info.run_id)

    def parent(self, experiment_id: str, run_key: str, lock: Path) -> str:
        """Id of the run that others belong to; made when missing, for its own log to take over."""
        with _alone(lock):
            tags = {RUN_KEY: plain_run_key(run_key)}
            for found, _ in self._find(experiment_id, tags[RUN_KEY]):
                return found
            name = run_key.rstrip("/").rsplit("/", 1)[-1]
            made = self.call("create_run", experiment_id, tags=tags, run_name=name)
            return str(made.info.run_id)

    def experiment_id(self, name: str) -> str | None:
        """Id of an experiment that is there."""
        found = self.call("get_experiment_by_name", name)
        return None if found is None else str(found.experiment_id)

    def run_id(self, experiment_id: str, run_key: str) -> str | None:
        """Id of the run with a key, if it is there."""
        return next((run for run, _ in self._find(experiment_id, plain_run_key(run_key))), None)

    def children(self, experiment_id: str, parent: str) -> dict[str, str]:
        """Runs that belong to another one → their phase, oldest first."""
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
        """Names a run, and marks it as running or leaves its status as it is."""
        status = "RUNNING" if running else None
        self.call("update_run", run_id, status=status, name=title[:_MAX_KEY])

    def log_batch(self, run_id: str, records: Sequence[Record]) -> None:
        """Sends tags, parameters and metrics in one call."""
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
        """Sends an artifact, a data set or the end."""
        if record.kind == "artifact":
            self._artifact(run_id, Path(record.value["path"]))
        elif record.kind == "dataset":
            self._dataset(run_id, **record.value)
        else:
            status = record.value["status"]
            self.call("set_tag", run_id, STATUS, status)
            self.call("set_terminated", run_id, _STATUS[status], record.time_ms)

    def _find(self, experiment_id: str, run_key: str) -> list[tuple[str, str | None]]:
        """Runs with a key, and whose life of it each recorded, oldest first."""
        found = self.call("search_runs", [experiment_id], f"tags.`{RUN_KEY}` = '{run_key}'")
        found = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        return [(run.info.run_id, run.data.tags.get(_LIFE)) for run in found]

    def _artifact(self, run_id: str, path: Path) -> None:
        if not path.exists():
            raise RefusedError(f"`{path}` is not there any more")
        if path.is_dir():
            self.call("log_artifacts", run_id, str(path), path.name)
        else:
            self.call("log_artifact", run_id, str(path))
        if path.suffix == ".tsv":
            self._table(run_id, path)

    def _table(self, run_id: str, path: Path) -> None:
        """The same once more as MLflow's interface shows tables and lays runs' side by side."""
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
        if not lines:
            return
        heading, *rows = lines
        name = f"{path.stem}.json"
        self.call("log_dict", run_id, {"columns": heading, "data": rows}, name)
        tags = self.call("get_run", run_id).data.tags
        listed = json.loads(tags.get(_TABLES, "[]"))
        if (entry := {"path": name, "type": "table"}) not in listed:
            self.call("set_tag", run_id, _TABLES, json.dumps([*listed, entry]))

    def _dataset(self, run_id: str, name: str, digest: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow keeps 36 characters of a digest; the whole one is its source.
        source = json.dumps({"fingerprint": digest})
        data = Dataset(name, digest[:_MAX_DIGEST], "kinesweep_store", source)
        tags = [InputTag("mlflow.data.context", "training")]
        self.call("log_inputs", run_id, datasets=[DatasetInput(data, tags)])

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Calls the client; every failure becomes `RefusedError` or `AwayError`."""
        from mlflow.exceptions import MlflowException, RestException

        try:
            return getattr(self._client, method)(*args, **kwargs)
        except MlflowException as error:
            # Without a REST answer the code is the client's own guess.
            code = str(error.error_code)
            if isinstance(error, RestException) and code in {
                *_PERMANENT,
                "RESOURCE_ALREADY_EXISTS",
            }:
                raise RefusedError(error.message, code == "RESOURCE_DOES_NOT_EXIST") from None
            raise AwayError(error.message) from None
        except OSError as error:  # requests' errors are of this family
            raise AwayError(str(error)) from None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keeps other processes with the same lock waiting."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
