"""The run of a queue in Weights & Biases, online or offline; each point is there once.

Each record of metrics becomes one row of W&B's history, numbered by its place in the queue, with
the step as a metric of its own that all charts use as their x axis: rows of W&B must ascend, steps
of different metrics do not. A row number identifies a point whatever process sends it.

Online, the server says on resume which row comes next, and earlier ones are not sent. Offline, each
process that has something to write replaces the folder `wandb/offline-run-…` of the run by one with
all rows, because a killed process may leave one behind that lacks its last rows and that W&B's
process still writes to. Rows that `wandb sync` has uploaded are left out. A row of 20 metrics costs
0.4 ms of CPU.

Files go to the run's Files page, not to W&B's artifacts, whose cache lies outside of the run's
folder. W&B shows no table of predictions, and the data set is part of the configuration.
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinesweep.core.errors import TrackingError
from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.mlflow_limits import parse_param_value
from kinesweep.tracking.offline_queue import OfflineQueue
from kinesweep.tracking.queue_file import QueuedRecord
from kinesweep.tracking.wandb.run_settings import WandbMode, make_init_arguments, make_run_tags
from kinesweep.tracking.wandb.sessions import close_wandb_run, open_wandb_run
from kinesweep.tracking.wandb.transaction_log import count_rows

_log = logging.getLogger(__name__)
WANDB_CONSUMER = "wandb"
STEP_METRIC, SYSTEM_STEP_METRIC = "optimizer_step", "system/sample"
"""Metrics that are the x axes of all others."""
_SYSTEM_PREFIX = "system/"
_MAX_FINISH_S = 180.0
"""Longest wait for the upload of a run: a server that hangs must not hold up a sweep."""


class WandbSender:
    """A sender that records one run in Weights & Biases.

    Args:
        queue: Offline queue of the run, opened by this process.
        mode: Whether runs are sent to the server or only written to disk.
        base_url: Address of the W&B server; empty: W&B's own default.
    """

    def __init__(self, queue: OfflineQueue, mode: WandbMode, base_url: str) -> None:
        self._queue = queue
        self._mode, self._base_url = mode, base_url
        self._folder = queue.path.parent
        self._run: Any = None
        # Number of the next row of the queue, and of the first row that W&B does not have.
        self._next_row = self._first_row = 0
        self._defined_metrics: set[str] = set()
        self._has_warned = False

    @property
    def target(self) -> str:
        """Return the name of the tracker, with the folder of an offline run."""
        place = "online" if self._mode == "online" else f"in {self._folder / 'wandb'}"
        return f"Weights & Biases ({place})"

    @property
    def finish_timeout_s(self) -> float:
        """Return the longest wait for the upload in seconds."""
        return _MAX_FINISH_S

    def get_pending_records(self) -> list[QueuedRecord]:
        """Return the records that W&B does not have, oldest first."""
        return self._queue.get_pending_records(WANDB_CONSUMER)

    def send_pending(self) -> bool:
        """Pass all pending records on to W&B; a failure is logged once and never raised.

        Returns:
            Whether W&B took them all. Otherwise, the next call opens the run again.
        """
        try:
            if self.get_pending_records():
                if self._run is None:
                    self._open_run()
                # Asked again, because opening the run makes earlier records pending.
                for record in self.get_pending_records():
                    self._send_record(record)
                    # Not acknowledged: W&B has them for certain only when the run is closed.
                    self._queue.advance(record, WANDB_CONSUMER)
        except (Exception, SystemExit) as error:
            # No failure of tracking may stop training; W&B calls `sys.exit` if its process fails.
            if not self._has_warned:
                _log.warning("%s failed (%r); records are queued", self.target, error)
            self._has_warned = True
            # Whether W&B has the record at fault is unknown; opening the run again finds out.
            self.close(None)
            return False
        self._has_warned = False
        return True

    def close(self, status: RunStatus | None) -> None:
        """Close the run in W&B, wait for its upload and confirm the records in the queue."""
        if self._run is None:
            return
        # Forgotten first: after a failure below, the next call opens the run again.
        run, self._run = self._run, None
        try:
            num_rows = close_wandb_run(run, exit_code=int(status == "failed"))
            is_uploaded = num_rows is None or num_rows >= self._next_row
            if is_uploaded and not self.get_pending_records():
                last_record = self._queue.read_records()[-1]
                url = run.project_url if self._mode == "online" else ""
                state = {"mode": self._mode, "url": url}
                self._queue.acknowledge(last_record, WANDB_CONSUMER, state)
        except (Exception, SystemExit) as error:
            _log.warning("%s failed at the end of the run (%r)", self.target, error)

    def _open_run(self) -> None:
        """Create or resume the run in W&B, with all records of the queue pending.

        Raises:
            TrackingError: If no credentials are known, or an offline process opens an online run.
            wandb.errors.Error: If the server does not answer or refuses.
        """
        earlier_mode = self._queue.states.get(WANDB_CONSUMER, {}).get("mode", self._mode)
        if (earlier_mode, self._mode) == ("online", "offline"):
            # Which rows the server has cannot be known offline.
            raise TrackingError("this run was begun online; use W&B online again to continue it")
        if self._queue.is_compacted:
            _log.warning("%s lacks points from before it was chosen", self.target)
        # Before the old folder is removed, so that a kill in between loses nothing.
        self._queue.rewind(WANDB_CONSUMER, {"mode": self._mode})
        num_synced_rows = self._remove_unsynced_folders()
        tags = self._queue.tags
        arguments = make_init_arguments(self._queue.header, tags, self._folder, self._mode)
        self._run = open_wandb_run(arguments, self._mode, self._base_url)
        self._next_row, self._defined_metrics = 0, set()
        self._first_row = num_synced_rows if self._mode == "offline" else self._run.starting_step

    def _remove_unsynced_folders(self) -> int:
        """Remove the run's offline folders that `wandb sync` has not uploaded.

        Returns:
            The number of rows in those that it has uploaded.
        """
        num_rows = 0
        for folder in sorted((self._folder / "wandb").glob("offline-run-*")):
            logs = list(folder.glob("*.wandb"))
            if list(folder.glob("*.wandb.synced")):
                # Rows are numbered over the whole run, so the folder with the highest number tells.
                num_rows = max([num_rows, *map(count_rows, logs)])
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return num_rows

    def _send_record(self, record: QueuedRecord) -> None:
        """Pass one record on to W&B."""
        value = record.value
        if record.kind == "metrics":
            self._send_metrics(record)
        elif record.kind == "params":
            self._update_config({key: parse_param_value(text) for key, text in value.items()})
        elif record.kind == "tags":
            # An assignment replaces all tags, so those of earlier records are included.
            self._run.tags = make_run_tags(self._queue.tags)
            self._update_config({f"tags.{key}": text for key, text in value.items()})
        elif record.kind == "artifact":
            self._send_file(Path(value["path"]))
        elif record.kind == "dataset":
            self._update_config({f"dataset.{key}": text for key, text in value.items()})
        else:
            self._run.summary["status"] = value["status"]

    def _send_metrics(self, record: QueuedRecord) -> None:
        """Log a record of metrics as a row, unless W&B has the row."""
        row_number, self._next_row = self._next_row, self._next_row + 1
        if row_number < self._first_row:
            return
        is_system = all(name.startswith(_SYSTEM_PREFIX) for name in record.value)
        step_metric = SYSTEM_STEP_METRIC if is_system else STEP_METRIC
        for name in record.value.keys() - self._defined_metrics:
            self._run.define_metric(name, step_metric=step_metric)
            self._defined_metrics.add(name)
        row = {**record.value, step_metric: record.step, "_timestamp": record.time_ms / 1000}
        # With a step, W&B would wait for the next row before it writes this one.
        self._run.log(row, step=row_number, commit=True)

    def _update_config(self, values: Mapping[str, Any]) -> None:
        """Add values to the configuration of the run."""
        self._run.config.update(dict(values), allow_val_change=True)

    def _send_file(self, path: Path) -> None:
        """Copy a file or folder into W&B's folder of the run, from where it is uploaded.

        A file that cannot be copied is left out with a warning; a link would break if it moved.
        """
        root = Path(self._run.dir)
        try:
            if path.is_dir():
                shutil.copytree(path, root / path.name, dirs_exist_ok=True)
                files = [each for each in (root / path.name).rglob("*") if each.is_file()]
            else:
                files = [Path(shutil.copy(path, root / path.name))]
        except OSError as error:
            _log.warning("%s does not have `%s`: %s", self.target, path, error)
            return
        for each in files:
            self._run.save(str(each), base_path=str(root), policy="now")
