"""Send the queued records of one run to an MLflow server, oldest first; find or create the run.

Each offline queue has one uploader. If the server permanently rejects a call (for example because a
value is too long), the call is bisected down to the entry at fault; that entry is skipped with a
warning and the others are sent. A run that was deleted at the server is created again, with
everything that is still in the queue.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kinesweep.core.run_logger import RunStatus
from kinesweep.tracking.mlflow_client import (
    PARENT_TAG,
    MlflowServerClient,
    RequestRejectedError,
    ServerUnavailableError,
)
from kinesweep.tracking.mlflow_limits import MAX_METRICS, MAX_PARAMS_OR_TAGS
from kinesweep.tracking.offline_queue import OfflineQueue
from kinesweep.tracking.queue_file import QueuedRecord
from kinesweep.tracking.record_calls import send_batch, send_record

_log = logging.getLogger(__name__)
_BATCHED_KINDS = ("metrics", "params", "tags")


class RunUploader:
    """An uploader for the records of one run.

    Args:
        uri: Address of the server.
        queue: Offline queue of the run, opened by this process.
        lock_path: Lock file visible to all processes of the experiment; runs are created under it.
    """

    def __init__(self, uri: str, queue: OfflineQueue, lock_path: Path) -> None:
        self.uri = uri
        self.queue = queue
        self._lock_path = lock_path
        self._client: MlflowServerClient | None = None
        self._run_id: str | None = None
        # Whether this process has set the run's title, and marked the run as running.
        self._is_title_set = self._is_marked_running = False
        # Whether the current failure has been logged.
        self._has_warned = False

    @property
    def target(self) -> str:
        """Return the name of the tracker and the address of the server."""
        return f"MLflow at {self.uri}"

    @property
    def finish_timeout_s(self) -> None:
        """Return None: each call to the server has a time limit of its own."""

    def get_pending_records(self) -> list[QueuedRecord]:
        """Return the records that the server has not confirmed, oldest first."""
        return self.queue.get_pending_records()

    def close(self, status: RunStatus | None) -> None:
        """Do nothing; a record of the queue holds the final status, and no connection is open."""

    def send_pending(self) -> bool:
        """Send all queued records, oldest first; a failure is logged and never raised.

        Returns:
            True if the queue is empty afterwards. False if sending failed, for example because the
            server is unavailable; the next call does not send acknowledged records again.
        """
        try:
            # A loop, because training appends records while earlier ones are sent.
            while pending := self.queue.get_pending_records():
                self._send_records(pending)
        except ServerUnavailableError as error:
            self._warn_once("MLflow at %s is unavailable (%s); records are queued in %s", error)
            return False
        except Exception as error:
            # No failure of tracking may stop training.
            self._warn_once("tracking at %s failed (%r); records are queued in %s", error)
            return False
        self._has_warned = False
        return True

    def _send_records(self, pending: Sequence[QueuedRecord]) -> None:
        """Send records in groups; acknowledge each group after the server has it.

        If the run was deleted at the server, all records of the queue become pending again.
        """
        try:
            self._ensure_run()
            for group in _group_records(pending):
                self._send_group(group)
                # A crash before this line sends the group again, which is safe: timestamps are
                # fixed.
                self.queue.acknowledge(group[-1])
        except _RunDeletedError:
            self._run_id = None
            # The next pass of `send_pending` creates another run and sends what is still queued.
            self.queue.detach_run()

    def _ensure_run(self) -> None:
        """Find or create the MLflow run, and set its title and status.

        Raises:
            _RunDeletedError: If the run was deleted at the server.
            ServerUnavailableError: If the server is unavailable.
        """
        if self._client is None:
            # Created in the sending thread: importing MLflow takes a second.
            self._client = MlflowServerClient(self.uri)
        if self._run_id is None:
            self._run_id = self.queue.run_id or self._find_or_create_run(self._client)
            # Both flags may still describe an earlier run that was deleted at the server.
            self._is_title_set = self._is_marked_running = False
        running = self.queue.status is None
        # A resumed run may be marked as finished at the server; it must show as running again.
        if not self._is_title_set or (running and not self._is_marked_running):
            try:
                self._client.update_run(self._run_id, self.queue.header["title"], running)
            except RequestRejectedError:  # also a run that was moved to the trash
                raise _RunDeletedError from None
            self._is_title_set, self._is_marked_running = True, running

    def _find_or_create_run(self, client: MlflowServerClient) -> str:
        """Return the id of the run with the queue's key, and store the id in the queue.

        Its experiment, its parent run and the run itself are created if they are missing.
        """
        header = self.queue.header
        experiment_id = client.get_or_create_experiment(header["experiment"])
        tags = dict(self.queue.tags)
        if header["parent"] is not None:
            tags[PARENT_TAG] = client.get_or_create_parent_run(
                experiment_id, header["parent"], self._lock_path
            )
        # Never empty: `send_pending` finds a run only if records are pending.
        start_time_ms = self.queue.get_pending_records()[0].time_ms
        run_id = client.get_or_create_run(
            experiment_id, header["key"], header["life"], tags, self._lock_path, start_time_ms
        )
        self.queue.attach_run(run_id)
        return run_id

    def _send_group(self, records: Sequence[QueuedRecord]) -> None:
        """Send records that fit into one call; skip rejected entries with a warning.

        A rejected call is repeated with each half of its records, down to single entries.

        Raises:
            _RunDeletedError: If the run was deleted at the server.
            ServerUnavailableError: If the server is unavailable.
        """
        assert self._client is not None and self._run_id is not None
        try:
            if records[0].kind in _BATCHED_KINDS:
                send_batch(self._client, self._run_id, records)
            else:
                send_record(self._client, self._run_id, records[0])
        except RequestRejectedError as error:
            # Halving cannot help here: the server would reject every record of a missing run.
            if error.is_run_missing:
                raise _RunDeletedError from None
            halves = _split_records(records)
            if not halves:
                _log.warning("MLflow refused %s: %s", records[0].value, error)
            for half in halves:
                self._send_group(half)

    def _warn_once(self, message: str, error: Exception) -> None:
        """Log a warning unless one was logged since the last successful `send_pending`.

        Args:
            message: Format string for the address of the server, the error and the queue's path.
            error: Reason of the failure.
        """
        if not self._has_warned:
            _log.warning(message, self.uri, error, self.queue.path)
        self._has_warned = True


class _RunDeletedError(Exception):
    """Raised if the run was deleted at the server."""


def _group_records(records: Sequence[QueuedRecord]) -> Iterator[list[QueuedRecord]]:
    """Yield the records, unchanged in order, in groups that one call can carry."""
    group: list[QueuedRecord] = []
    for record in records:
        if group and not _is_within_call_limits([*group, record]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _is_within_call_limits(records: Sequence[QueuedRecord]) -> bool:
    """Return whether MLflow accepts the records in one call."""
    counts = {
        kind: sum(len(record.value) for record in records if record.kind == kind)
        for kind in _BATCHED_KINDS
    }
    # Artifacts, datasets and the final status need calls of their own.
    all_batched = all(record.kind in _BATCHED_KINDS for record in records)
    is_within_name_limits = (
        counts["params"] <= MAX_PARAMS_OR_TAGS and counts["tags"] <= MAX_PARAMS_OR_TAGS
    )
    return all_batched and is_within_name_limits and sum(counts.values()) <= MAX_METRICS


def _split_records(records: Sequence[QueuedRecord]) -> list[list[QueuedRecord]]:
    """Split the records of a rejected call into two halves.

    A single record is split by its entries.

    Returns:
        The two halves; empty if there is a single entry, or a record that cannot be split.
    """
    if len(records) > 1:
        middle = len(records) // 2
        return [list(records[:middle]), list(records[middle:])]
    record = records[0]
    entries = list(record.value.items())
    if record.kind not in _BATCHED_KINDS or len(entries) == 1:
        return []
    middle = len(entries) // 2
    return [[replace(record, value=dict(half))] for half in (entries[:middle], entries[middle:])]
