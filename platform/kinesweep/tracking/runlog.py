"""A run's record in MLflow: batched, exactly once, and never in the way of training.

Every call appends a line with its time to a spool file in the run's folder and returns; a thread
sends the spool on in batches (one call a batch: 25 ms for 20 metrics where single calls take
290 ms). While the server is away lines stay in the spool. What the server has taken is marked
beside it, so a killed and resumed run goes on where it stopped; a batch sent twice in a crash does
no harm, since MLflow keeps a point of equal key, step and time once.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.runlog import RunStatus

_SEND_EVERY_S = 1.0
_FINISH_WAIT_S = 20.0
"""How long a finished run waits for an absent server before it leaves the rest in its spool."""
_MAX_METRICS = 1000
_MAX_PARAMS = 100
_MAX_VALUE = 6000
"""MLflow's bounds of one call, and of a parameter's length."""
_STATUS = {"finished": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
KEY_TAG = "kinesweep.run_key"


@dataclass(frozen=True)
class RunName:
    """How a run is found again in MLflow.

    Attributes:
        key: unique and the same after a resume, for example the path of its folder.
        title: what people see.
        tags: further tags, such as `config_hash`, `seed`, `phase`.
        parent: key of the sweep's own run, or None.
    """

    key: str
    title: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None


class MlflowRunLog:
    """One run's record; made by `factory.MlflowLogs.open`.

    Args:
        uri: the server.
        experiment: its name there.
        name: the run.
        spool: file that holds what the server has not taken.
    """

    def __init__(self, uri: str, experiment: str, name: RunName, spool: Path) -> None:
        spool.parent.mkdir(parents=True, exist_ok=True)
        self._sender = _Sender(uri, experiment, name, spool)
        self._file = spool.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._highest = _highest_step(spool)
        self._thread = threading.Thread(target=self._send_on, daemon=True, name="mlflow-spool")
        self._thread.start()

    def params(self, values: Mapping[str, object]) -> None:
        """Records flat parameters; a key keeps its first value."""
        self._add({"params": {key: str(value)[:_MAX_VALUE] for key, value in values.items()}})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Records measurements of a step; those of a step recorded before a resume are known."""
        new = {k: float(v) for k, v in values.items() if step > self._highest.get(k, -1)}
        self._highest |= dict.fromkeys(new, step)
        if new:
            self._add({"metrics": new, "step": step})

    def artifact(self, path: Path) -> None:
        """Keeps a file, as it is when it is sent."""
        self._add({"artifact": str(path.absolute())})

    def dataset(self, name: str, digest: str) -> None:
        """Records which data the run saw."""
        self._add({"dataset": name, "digest": digest})

    def finish(self, status: RunStatus) -> None:
        """Sends the rest and ends the record; an absent server finds it in the spool later."""
        self._add({"status": _STATUS[status]})
        self._ended.set()
        self._thread.join(_FINISH_WAIT_S)
        self._file.close()

    def _add(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps({"ms": int(time.time() * 1000), **line}) + "\n")
            self._file.flush()

    def _send_on(self) -> None:
        give_up = float("inf")
        while True:
            ended = self._ended.wait(_SEND_EVERY_S)
            if ended:
                give_up = min(give_up, time.monotonic() + _FINISH_WAIT_S)
            sent = self._sender.send()
            if ended and (sent or time.monotonic() > give_up):
                return


def send_spool(uri: str, experiment: str, name: RunName, spool: Path) -> bool:
    """Sends what an earlier process left in its spool. Returns whether all of it went."""
    return _Sender(uri, experiment, name, spool).send()


class _Sender:
    """Moves lines of a spool to the server; knows how far it got."""

    def __init__(self, uri: str, experiment: str, name: RunName, spool: Path) -> None:
        self._uri, self._experiment, self._name, self._spool = uri, experiment, name, spool
        self._mark = spool.with_suffix(".sent")
        self._client: Any = None
        self._run_id = ""

    def send(self) -> bool:
        """Sends all whole lines that are new; False when the server does not take them."""
        sent = int(self._mark.read_text()) if self._mark.exists() else 0
        with self._spool.open("rb") as file:
            file.seek(sent)
            whole = file.read().rpartition(b"\n")[0]
        if not whole:
            return True
        try:
            self._connect()
            self._send([json.loads(line) for line in whole.splitlines()])
        except Exception:  # whatever a server or network does, training goes on
            return False
        self._mark.write_text(str(sent + len(whole) + 1))
        return True

    def _connect(self) -> None:
        if self._run_id:
            return
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        from mlflow import MlflowClient

        client = MlflowClient(self._uri)
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            experiment_id = client.create_experiment(self._experiment)
        else:
            experiment_id = experiment.experiment_id
        tags = {KEY_TAG: self._name.key, **self._name.tags}
        if self._name.parent is not None:
            tags["mlflow.parentRunId"] = find_or_create(
                client, experiment_id, RunName(self._name.parent, self._experiment)
            )
        self._run_id = find_or_create(client, experiment_id, self._name, tags)
        client.update_run(self._run_id, status="RUNNING")
        self._client = client

    def _send(self, lines: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric, Param

        metrics = [
            Metric(key, value, line["ms"], line["step"])
            for line in lines
            for key, value in line.get("metrics", {}).items()
        ]
        params: dict[str, str] = {}
        for line in lines:
            params = {**line.get("params", {}), **params}
        known = self._client.get_run(self._run_id).data.params if params else {}
        fresh = [Param(key, value) for key, value in params.items() if key not in known]
        for start in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[start : start + _MAX_METRICS])
        for start in range(0, len(fresh), _MAX_PARAMS):
            self._client.log_batch(self._run_id, params=fresh[start : start + _MAX_PARAMS])
        for line in lines:
            self._send_rest(line)

    def _send_rest(self, line: dict[str, Any]) -> None:
        if "artifact" in line and Path(line["artifact"]).is_file():
            self._client.log_artifact(self._run_id, line["artifact"])
        if "dataset" in line:
            self._client.log_inputs(self._run_id, datasets=[_dataset_input(line)])
        if "status" in line:
            self._client.set_terminated(self._run_id, line["status"], line["ms"])


def find_or_create(
    client: Any, experiment_id: str, name: RunName, tags: Mapping[str, str] | None = None
) -> str:
    """Id of the run with this key; the same one for every process that asks."""
    key = name.key.replace("'", "_")
    asked = f"tags.`{KEY_TAG}` = '{key}'"
    found = client.search_runs([experiment_id], asked, order_by=["attributes.start_time ASC"])
    if found:
        return str(found[0].info.run_id)
    given = {**(tags or {}), KEY_TAG: key}
    return str(client.create_run(experiment_id, run_name=name.title, tags=given).info.run_id)


def _dataset_input(line: dict[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput

    source = json.dumps({"fingerprint": line["digest"]})
    return DatasetInput(Dataset(line["dataset"], line["digest"][:36], "kinesweep", source), [])


def _highest_step(spool: Path) -> dict[str, int]:
    """The last step of each metric that a spool holds already."""
    highest: dict[str, int] = {}
    if spool.exists():
        for line in spool.read_text(encoding="utf-8").split("\n")[:-1]:
            entry = json.loads(line)
            for key in entry.get("metrics", {}):
                highest[key] = max(highest.get(key, -1), entry["step"])
    return highest
