"""The MLflow calls that send queued records to a run: batches, artifacts, datasets, the status."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from kinesweep.core.tables.delimited_text import split_records
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.tracking.mlflow_client import MlflowServerClient, RequestRejectedError
from kinesweep.tracking.mlflow_limits import MAX_DIGEST_LENGTH, MAX_TAG_LENGTH
from kinesweep.tracking.queue_file import QueuedRecord

_log = logging.getLogger(__name__)

STATUS_TAG = "kinesweep.status"
_TABLES_TAG = "mlflow.loggedArtifacts"
# MLflow has no status for pruned or stopped runs; the exact one is kept in the tag `STATUS_TAG`.
_MLFLOW_STATUSES = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "stopped": "KILLED",
    "failed": "FAILED",
}


def send_batch(client: MlflowServerClient, run_id: str, records: Sequence[QueuedRecord]) -> None:
    """Send records of metrics, parameters and tags to a run in one call.

    Args:
        client: Client of the server.
        run_id: Id of the run.
        records: Records within the limits of one call (`mlflow_limits`).

    Raises:
        RequestRejectedError: If the server rejects the call permanently.
        ServerUnavailableError: If the call fails in any other way.
    """
    from mlflow.entities import Metric, Param, RunTag

    metrics, params, tags = [], [], []
    for record in records:
        items = record.value.items()
        if record.kind == "metrics":
            metrics += [Metric(key, x, record.time_ms, record.step) for key, x in items]
        elif record.kind == "params":
            params += [Param(key, value) for key, value in items]
        else:
            tags += [RunTag(key, value[:MAX_TAG_LENGTH]) for key, value in items]
    client.call_client("log_batch", run_id, metrics=metrics, params=params, tags=tags)


def send_record(client: MlflowServerClient, run_id: str, record: QueuedRecord) -> None:
    """Send one record of an artifact, a dataset or the final status to a run.

    Args:
        client: Client of the server.
        run_id: Id of the run.
        record: Record of the kind `artifact`, `dataset` or `finish`.

    Raises:
        RequestRejectedError: If the server rejects the call permanently, or the artifact no longer
            exists.
        ServerUnavailableError: If the call fails in any other way.
    """
    if record.kind == "artifact":
        _log_artifact(client, run_id, Path(record.value["path"]))
    elif record.kind == "dataset":
        _log_dataset(client, run_id, **record.value)
    else:
        status = record.value["status"]
        # Before the end, so that a run that MLflow shows as terminated always has the exact status.
        client.call_client("set_tag", run_id, STATUS_TAG, status)
        client.call_client("set_terminated", run_id, _MLFLOW_STATUSES[status], record.time_ms)


def _log_artifact(client: MlflowServerClient, run_id: str, path: Path) -> None:
    """Upload a file or folder to a run; a TSV file is also logged as an MLflow table.

    Raises:
        RequestRejectedError: If the file or folder no longer exists, or the server rejects it.
        ServerUnavailableError: If a call fails in any other way.
    """
    if not path.exists():
        raise RequestRejectedError(f"`{path}` no longer exists")
    if path.is_dir():
        client.call_client("log_artifacts", run_id, str(path), path.name)
    else:
        client.call_client("log_artifact", run_id, str(path))
    if path.suffix == ".tsv":
        _log_table(client, run_id, path)


def _log_table(client: MlflowServerClient, run_id: str, path: Path) -> None:
    """Log a TSV file as an MLflow table, which the UI can display and compare between runs.

    A file that is no table in UTF-8 has been uploaded as it is; a warning is logged.
    """
    try:
        records = [
            list(record.fields) for record in split_records(decode_text(path.read_bytes()), "\t")
        ]
    except ValueError as error:
        # Raised, it would count as a failure of tracking and hold back all later records.
        _log.warning("`%s` is not shown as a table in MLflow: %s", path, error)
        return
    if not records:
        return
    columns, *rows = records
    name = f"{path.stem}.json"
    # Not `log_table`, which appends: a repeated call would duplicate the rows.
    client.call_client("log_dict", run_id, {"columns": columns, "data": rows}, name)
    # The UI finds tables through this tag.
    tags = client.call_client("get_run", run_id).data.tags
    logged_tables = json.loads(tags.get(_TABLES_TAG, "[]"))
    if (entry := {"path": name, "type": "table"}) not in logged_tables:
        client.call_client("set_tag", run_id, _TABLES_TAG, json.dumps([*logged_tables, entry]))


def _log_dataset(client: MlflowServerClient, run_id: str, name: str, digest: str) -> None:
    """Log a dataset as an input of the run.

    Args:
        client: Client of the server.
        run_id: Id of the run.
        name: Name of the dataset.
        digest: Fingerprint of the feature store.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow stores only 36 characters of a digest; the source holds the complete one.
    source = json.dumps({"fingerprint": digest})
    dataset = Dataset(name, digest[:MAX_DIGEST_LENGTH], "kinesweep_store", source)
    tags = [InputTag("mlflow.data.context", "training")]
    client.call_client("log_inputs", run_id, datasets=[DatasetInput(dataset, tags)])
