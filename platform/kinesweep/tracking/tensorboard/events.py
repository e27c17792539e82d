"""Events of TensorBoard for the records of a run.

Metrics become scalars (TensorBoard stores them as 32-bit floats). Parameters become a text table
and the hyperparameters of the HParams page; the run of a sweep names the swept ones and the
objectives, which are the columns of that page. Tags, the data set, the status and the first rows of
tables such as predictions become texts. TensorBoard stores no files: of every other artifact only
the path is shown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData
from tensorboard.summary.writer.record_writer import RecordWriter

from kinesweep.core.tables.delimited_text import split_records
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.tracking.mlflow_limits import parse_param_value
from kinesweep.tracking.queue_file import QueuedRecord

_MAX_TABLE_ROWS = 20
"""Rows of a table that are shown; TensorBoard keeps every text in memory."""
# A stopped run goes on later, so its session has not ended.
_SESSION_STATUSES = {
    "finished": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
}
_PARAM_TYPES = {
    "number": api_pb2.DATA_TYPE_FLOAT64,
    "flag": api_pb2.DATA_TYPE_BOOL,
    "text": api_pb2.DATA_TYPE_STRING,
}


class EventWriter:
    """A writer that appends the records of a run to its event file.

    Args:
        path: Event file; an empty one gets the events that open a file.
        header: Header of the run's offline queue.
        is_started: Whether the event with the run's parameters is in the file.

    Attributes:
        is_started: As above, now.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], is_started: bool) -> None:
        self._path, self._header, self.is_started = path, header, is_started
        self._file = path.open("ab")
        self._records = RecordWriter(self._file)
        self._is_empty = self._file.tell() == 0

    def needs_params(self, record: QueuedRecord) -> bool:
        """Return whether `write_session_start` must come before this record."""
        # The run of a sweep would be a row of the page that compares the others.
        is_other_kind = record.kind not in ("params", "tags")
        return is_other_kind and not self.is_started and not self._header.get("swept_params")

    def write_session_start(self, earlier: Sequence[QueuedRecord], record: QueuedRecord) -> None:
        """Write the hyperparameters of the run; TensorBoard reads only the first such event.

        Args:
            earlier: All records of the run before `record`.
            record: First record other than parameters and tags.
        """
        params: dict[str, str] = {}
        # Many parameters come in several records, because MLflow limits those of one request.
        for each in earlier:
            params |= each.value if each.kind == "params" else {}
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=record.time_ms / 1000)
        for name, text in params.items():
            value = parse_param_value(text)
            # Before the numbers, because `bool` is a subclass of `int`.
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = text
        data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
        self._write(record, _make_hparams_value(metadata.SESSION_START_INFO_TAG, data))
        self.is_started = True

    def write_record(self, record: QueuedRecord) -> None:
        """Write a record of any kind."""
        value = record.value
        if record.kind == "metrics":
            values = [Summary.Value(tag=key, simple_value=x) for key, x in value.items()]
            self._write(record, *values)
        elif record.kind in ("params", "tags"):
            rows = [["name", "value"], *map(list, value.items())]
            tag = "parameters" if record.kind == "params" else "tags"
            self._write(record, _make_text(tag, _format_table(rows)))
        elif record.kind == "artifact":
            path = Path(value["path"])
            self._write(record, _make_text(f"artifacts/{path.name}", _describe_file(path)))
        elif record.kind == "dataset":
            text = f"{value['name']}, fingerprint `{value['digest']}`"
            self._write(record, _make_text("dataset", text))
        else:
            self._write_status(record)

    def flush(self) -> int:
        """Write what is buffered; return the length of the file in bytes.

        Raises:
            OSError: If the disk is full or the file cannot be written.
        """
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write_status(self, record: QueuedRecord) -> None:
        """Write the final status of the run as a text and for the HParams page."""
        status = record.value["status"]
        values = [_make_text("status", status)]
        # The run of a sweep has no session start, so it gets no end either.
        if self.is_started and status in _SESSION_STATUSES:
            end = plugin_data_pb2.SessionEndInfo(
                status=_SESSION_STATUSES[status], end_time_secs=record.time_ms / 1000
            )
            data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
            values.append(_make_hparams_value(metadata.SESSION_END_INFO_TAG, data))
        self._write(record, *values)

    def _write(self, record: QueuedRecord, *values: Summary.Value) -> None:
        """Append an event with the time and step of a record; open the file if it is empty."""
        time_s = record.time_ms / 1000
        if self._is_empty:
            self._is_empty = False
            # The first event of every file that TensorBoard writes itself: version 2 of the format.
            self._append(Event(wall_time=time_s, file_version="brain.Event:2"))
            if self._header.get("swept_params"):
                experiment = _make_experiment(self._header, time_s)
                self._append(Event(wall_time=time_s, summary=Summary(value=[experiment])))
        if values:
            self._append(Event(wall_time=time_s, step=record.step, summary=Summary(value=values)))

    def _append(self, event: Event) -> None:
        """Append an event to the file."""
        self._records.write(event.SerializeToString())


def _make_experiment(header: Mapping[str, Any], time_s: float) -> Summary.Value:
    """Return the columns of the HParams page of a sweep: swept parameters and objectives."""
    params = [
        api_pb2.HParamInfo(name=name, type=_PARAM_TYPES[kind])
        for name, kind in header["swept_params"].items()
    ]
    objectives = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in header["objectives"]
    ]
    experiment = api_pb2.Experiment(
        description=header["title"],
        time_created_secs=time_s,
        hparam_infos=params,
        metric_infos=objectives,
    )
    data = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return _make_hparams_value(metadata.EXPERIMENT_TAG, data)


def _make_hparams_value(tag: str, data: Any) -> Summary.Value:
    """Return a summary value of the HParams plugin."""
    data.version = metadata.PLUGIN_DATA_VERSION
    plugin_data = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
    )
    # Readers of version 2 files want a tensor in every value.
    return Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=plugin_data),
        tensor=metadata.NULL_TENSOR,
    )


def _make_text(tag: str, text: str) -> Summary.Value:
    """Return a summary value of the text plugin, which shows Markdown."""
    content = TextPluginData(version=0).SerializeToString()
    plugin_data = SummaryMetadata.PluginData(plugin_name="text", content=content)
    return Summary.Value(
        # The suffix that `torch.utils.tensorboard` gives to the tags of texts.
        tag=f"{tag}/text_summary",
        metadata=SummaryMetadata(plugin_data=plugin_data),
        tensor=TensorProto(dtype=DT_STRING, string_val=[text.encode()]),
    )


def _describe_file(path: Path) -> str:
    """Return the first rows of a TSV file as a Markdown table, and the path of any other file."""
    if path.suffix != ".tsv":
        return f"`{path}`"
    try:
        records = split_records(decode_text(path.read_bytes()), "\t")
        rows = [list(record.fields) for record in records]
    except (OSError, ValueError) as error:
        return f"`{path}` ({error})"
    shown = _format_table(rows[: _MAX_TABLE_ROWS + 1]) if rows else ""
    return f"`{path}`, {max(len(rows) - 1, 0)} rows, the first of them:\n\n{shown}"


def _format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table; the first row is the header."""
    lines = ["| " + " | ".join(_escape_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _escape_cell(text: str) -> str:
    """Return a text that stays within one cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
