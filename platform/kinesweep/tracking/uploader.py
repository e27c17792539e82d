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
    MAX_NAMES,
    PARENT,
    RequestRejectedError,
    ServerUnavailableError,
    Wire,
)
from kinesweep.tracking.offline_queue import Record, Spool

_log = logging.getLogger(__name__)
_BATCHED = ("metrics", "params", "tags")


class Sender:
    """An uploader for one run's records.

    Args:
        uri: Address of the server.
        spool: Offline queue of the run, held by this process.
        lock: Lock file visible to all processes of the experiment; runs are created under it.
    """

    def __init__(self, uri: str, spool: Spool, lock: Path) -> None:
        self.uri = uri
        self.spool = spool
        self._lock = lock
        self._wire: Wire | None = None
        self._run_id: str | None = None
        # Whether this process has set the run's title, and marked the run as running.
        self._named = self._running = False
        # Whether the current failure has been logged.
        self._told = False

    def send(self) -> bool:
        """Send all queued records.

        Returns:
            False if the server is unavailable; records that it already has are not sent again.
        """
        try:
            # A loop, because training appends records while earlier ones are sent.
            while pending := self.spool.pending():
                self._send_all(pending)
        except ServerUnavailableError as error:
            self._tell("MLflow at %s is unavailable (%s); records are queued in %s", error)
            return False
        except Exception as error:
            # No failure of tracking may stop training.
            self._tell("tracking at %s failed (%r); records are queued in %s", error)
            return False
        self._told = False
        return True

    def _send_all(self, pending: Sequence[Record]) -> None:
        """Send records in groups; acknowledge each group after the server has it."""
        try:
            self._attach()
            for group in _groups(pending):
                self._send(group)
                # A crash before this line sends the group again, which is safe: timestamps are
                # fixed.
                self.spool.acknowledge(group[-1])
        except _RunGoneError:
            self._run_id = None
            # The next pass of `send` creates another run and sends everything that is still there.
            self.spool.detach()

    def _attach(self) -> None:
        """Make sure that there is a run, with its title and status.

        Raises:
            _RunGoneError: If the run was deleted at the server.
        """
        if self._wire is None:
            # Created in the sending thread: importing MLflow takes a second.
            self._wire = Wire(self.uri)
        if self._run_id is None:
            self._run_id = self.spool.run_id or self._find_or_create(self._wire)
            self._named = self._running = False
        running = self.spool.status is None
        # A resumed run may be marked as finished at the server; it must show as running again.
        if not self._named or (running and not self._running):
            try:
                self._wire.show(self._run_id, self.spool.head["title"], running)
            except RequestRejectedError:  # also a run that was moved to the trash
                raise _RunGoneError from None
            self._named, self._running = True, running

    def _find_or_create(self, wire: Wire) -> str:
        """Return the id of the run with the spool's key, under its parent run."""
        head = self.spool.head
        experiment = wire.experiment(head["experiment"])
        tags = dict(self.spool.tags)
        if head["parent"] is not None:
            tags[PARENT] = wire.parent(experiment, head["parent"], self._lock)
        # Never empty: `send` attaches only if records are pending.
        began_ms = self.spool.pending()[0].time_ms
        run_id = wire.run(experiment, head["key"], head["life"], tags, self._lock, began_ms)
        self.spool.attach(run_id)
        return run_id

    def _send(self, records: Sequence[Record]) -> None:
        """Send records that fit into one call; skip entries that the server refuses.

        Raises:
            _RunGoneError: If the run was deleted at the server.
        """
        assert self._wire is not None and self._run_id is not None
        try:
            if records[0].kind in _BATCHED:
                self._wire.log_batch(self._run_id, records)
            else:
                self._wire.log_single(self._run_id, records[0])
        except RequestRejectedError as error:
            if error.gone:
                raise _RunGoneError from None
            halves = _halves(records)
            if not halves:
                _log.warning("MLflow refused %s: %s", records[0].value, error)
            for half in halves:
                self._send(half)

    def _tell(self, text: str, error: Exception) -> None:
        """Log a warning once per outage."""
        if not self._told:
            _log.warning(text, self.uri, error, self.spool.path)
        self._told = True


class _RunGoneError(Exception):
    """The run was deleted at the server."""


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Yield records in order, in groups that one call can carry."""
    group: list[Record] = []
    for record in records:
        if group and not _fits([*group, record]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _fits(records: Sequence[Record]) -> bool:
    """Return whether records can be sent in one call."""
    counts = {kind: sum(len(r.value) for r in records if r.kind == kind) for kind in _BATCHED}
    # Artifacts, datasets and the final status need calls of their own.
    all_batched = all(record.kind in _BATCHED for record in records)
    within = counts["params"] <= MAX_NAMES and counts["tags"] <= MAX_NAMES
    return all_batched and within and sum(counts.values()) <= MAX_METRICS


def _halves(records: Sequence[Record]) -> list[list[Record]]:
    """Split a refused call in two, by records and then by entries; empty for a single entry."""
    if len(records) > 1:
        middle = len(records) // 2
        return [list(records[:middle]), list(records[middle:])]
    record = records[0]
    items = list(record.value.items())
    if record.kind not in _BATCHED or len(items) == 1:
        return []
    middle = len(items) // 2
    return [[replace(record, value=dict(part))] for part in (items[:middle], items[middle:])]
