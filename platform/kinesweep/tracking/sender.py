"""Brings a spool to an MLflow server: finds or makes the run, sends what waits, in order.

One sender a spool. What the server refuses for good (a value of another length, say) is cut down to
the entry at fault; that one is left out with a warning and the rest goes on. A run that was deleted
at the server is made again, with everything that is still in the spool.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kinesweep.tracking.spool import Record, Spool
from kinesweep.tracking.wire import MAX_METRICS, MAX_NAMES, PARENT, AwayError, RefusedError, Wire

_log = logging.getLogger(__name__)
_BATCHED = ("metrics", "params", "tags")


class Sender:
    """Sends one run's records.

    Args:
        uri: the server's address.
        spool: held by this process.
        lock: a file that all processes of the experiment see; runs are made under it.
    """

    def __init__(self, uri: str, spool: Spool, lock: Path) -> None:
        self.uri = uri
        self.spool = spool
        self._lock = lock
        self._wire: Wire | None = None
        self._run_id: str | None = None
        self._named = self._running = False
        self._told = False

    def send(self) -> bool:
        """Sends all that waits; False when the server is away (what it has is kept in mind)."""
        try:
            while pending := self.spool.pending():
                self._send_all(pending)
        except AwayError as error:
            self._tell("MLflow at %s is away (%s); records wait in %s", error)
            return False
        except Exception as error:
            # Whatever tracking stumbles over, training must not.
            self._tell("tracking at %s failed (%r); records wait in %s", error)
            return False
        self._told = False
        return True

    def _send_all(self, pending: Sequence[Record]) -> None:
        try:
            self._attach()
            for group in _groups(pending):
                self._send(group)
                self.spool.acknowledge(group[-1])
        except _RunGoneError:
            self._run_id = None
            self.spool.detach()

    def _attach(self) -> None:
        """Makes sure that there is a run to send to."""
        if self._wire is None:
            self._wire = Wire(self.uri)
        if self._run_id is None:
            self._run_id = self.spool.run_id or self._find_or_create(self._wire)
            self._named = self._running = False
        running = self.spool.status is None
        if not self._named or (running and not self._running):
            try:
                self._wire.show(self._run_id, self.spool.head["title"], running)
            except RefusedError:  # also a run that was put into the bin
                raise _RunGoneError from None
            self._named, self._running = True, running

    def _find_or_create(self, wire: Wire) -> str:
        """The run of the spool's key, under its parent."""
        head = self.spool.head
        experiment = wire.experiment(head["experiment"])
        tags = dict(self.spool.tags)
        if head["parent"] is not None:
            tags[PARENT] = wire.parent(experiment, head["parent"], self._lock)
        began_ms = self.spool.pending()[0].time_ms  # what is sent is never empty
        run_id = wire.run(experiment, head["key"], head["life"], tags, self._lock, began_ms)
        self.spool.attach(run_id)
        return run_id

    def _send(self, records: Sequence[Record]) -> None:
        """Sends records that fit into one call; what is refused is cut out and left behind."""
        assert self._wire is not None and self._run_id is not None
        try:
            if records[0].kind in _BATCHED:
                self._wire.log_batch(self._run_id, records)
            else:
                self._wire.log_single(self._run_id, records[0])
        except RefusedError as error:
            if error.gone:
                raise _RunGoneError from None
            halves = _halves(records)
            if not halves:
                _log.warning("MLflow refused %s: %s", records[0].value, error)
            for half in halves:
                self._send(half)

    def _tell(self, text: str, error: Exception) -> None:
        """Warns once until it works again."""
        if not self._told:
            _log.warning(text, self.uri, error, self.spool.path)
        self._told = True


class _RunGoneError(Exception):
    """The run was removed at the server."""


def _groups(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in order, as many at a time as one call can carry."""
    group: list[Record] = []
    for record in records:
        if group and not _fits([*group, record]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _fits(records: Sequence[Record]) -> bool:
    counts = {kind: sum(len(r.value) for r in records if r.kind == kind) for kind in _BATCHED}
    all_batched = all(record.kind in _BATCHED for record in records)
    within = counts["params"] <= MAX_NAMES and counts["tags"] <= MAX_NAMES
    return all_batched and within and sum(counts.values()) <= MAX_METRICS


def _halves(records: Sequence[Record]) -> list[list[Record]]:
    """A refused call in two, by records and then by entries; empty when it is one entry."""
    if len(records) > 1:
        middle = len(records) // 2
        return [list(records[:middle]), list(records[middle:])]
    record = records[0]
    items = list(record.value.items())
    if record.kind not in _BATCHED or len(items) == 1:
        return []
    middle = len(items) // 2
    return [[replace(record, value=dict(part))] for part in (items[:middle], items[middle:])]
