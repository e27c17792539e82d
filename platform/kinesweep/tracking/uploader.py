"""Sends the queued records of one run to an MLflow server, in order; finds or creates the run.

Each spool has one sender. If the server permanently refuses a call (for example a value that is too
long), the call is bisected down to the entry at fault; that entry is skipped with a warning and the
rest is sent. A run that was deleted at the server is created again, with everything that is still
in the spool.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kinesweep.tracking.mlflow_client import (
    MAX_METRICS,
    MAX_PARAMS_OR_TAGS,
    PARENT_TAG,
    MlflowServerClient,
    RequestRejectedError,
    ServerUnavailableError,
)
from kinesweep.tracking.offline_queue import OfflineQueue, QueuedRecord

_log = logging.getLogger(__name__)
_BATCHED_KINDS = ("metrics", "params", "tags")


class RunUploader:
    """An uploader for one run's records.

    Args:
        uri: Address of the server.
        queue: Offline queue of the run, held by this process.
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

    def send_pending(self) -> bool:
        """Send all queued records.

        Returns:
            False if the server is unavailable; records that it already has are not sent again.
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
        """Send records in groups; acknowledge each group after the server has it."""
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
            _RunGoneError: If the run was deleted at the server.
        """
        if self._client is None:
            # Created in the sending thread: importing MLflow takes a second.
            self._client = MlflowServerClient(self.uri)
        if self._run_id is None:
            self._run_id = self.queue.run_id or self._find_or_create_run(self._client)
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
        """Return the id of the run with the spool's key, under its parent run."""
        header = self.queue.header
        experiment = client.get_or_create_experiment(header["experiment"])
        tags = dict(self.queue.tags)
        if header["parent"] is not None:
            tags[PARENT_TAG] = client.get_or_create_parent_run(
                experiment, header["parent"], self._lock_path
            )
        # Never empty: `send_pending` finds a run only if records are pending.
        start_time_ms = self.queue.get_pending_records()[0].time_ms
        run_id = client.get_or_create_run(
            experiment, header["key"], header["life"], tags, self._lock_path, start_time_ms
        )
        self.queue.attach_run(run_id)
        return run_id

    def _send_group(self, records: Sequence[QueuedRecord]) -> None:
        """Send records that fit into one call; skip entries that the server refuses.

        Raises:
            _RunGoneError: If the run was deleted at the server.
        """
        assert self._client is not None and self._run_id is not None
        try:
            if records[0].kind in _BATCHED_KINDS:
                self._client.log_batch(self._run_id, records)
            else:
                self._client.log_record(self._run_id, records[0])
        except RequestRejectedError as error:
            if error.is_run_missing:
                raise _RunDeletedError from None
            halves = _split_call(records)
            if not halves:
                _log.warning("MLflow refused %s: %s", records[0].value, error)
            for half in halves:
                self._send_group(half)

    def _warn_once(self, text: str, error: Exception) -> None:
        """Log a warning once per outage."""
        if not self._has_warned:
            _log.warning(text, self.uri, error, self.queue.path)
        self._has_warned = True


class _RunDeletedError(Exception):
    """The run was deleted at the server."""


def _group_records(records: Sequence[QueuedRecord]) -> Iterator[list[QueuedRecord]]:
    """Yield records in order, in groups that one call can carry."""
    group: list[QueuedRecord] = []
    for record in records:
        if group and not _is_within_call_limits([*group, record]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _is_within_call_limits(records: Sequence[QueuedRecord]) -> bool:
    """Return whether records can be sent in one call."""
    counts = {kind: sum(len(r.value) for r in records if r.kind == kind) for kind in _BATCHED_KINDS}
    # Artifacts, datasets and the final status need calls of their own.
    all_batched = all(record.kind in _BATCHED_KINDS for record in records)
    is_within_name_limits = (
        counts["params"] <= MAX_PARAMS_OR_TAGS and counts["tags"] <= MAX_PARAMS_OR_TAGS
    )
    return all_batched and is_within_name_limits and sum(counts.values()) <= MAX_METRICS


def _split_call(records: Sequence[QueuedRecord]) -> list[list[QueuedRecord]]:
    """Split a refused call in two, by records and then by entries; empty for a single entry."""
    if len(records) > 1:
        middle = len(records) // 2
        return [list(records[:middle]), list(records[middle:])]
    record = records[0]
    items = list(record.value.items())
    if record.kind not in _BATCHED_KINDS or len(items) == 1:
        return []
    middle = len(items) // 2
    return [[replace(record, value=dict(part))] for part in (items[:middle], items[middle:])]
