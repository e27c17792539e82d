"""A start barrier that no trial passes before all trial actors have started.

Ray Tune gives the actor of an ended trial to the next waiting trial. If the waiting trial's own
actor is still starting, Tune drops that actor and requests one for the next trial, which is dropped
in the same way. Trials that are shorter than the start of a process would therefore each start a
process that is never used. To avoid this, the first report of each trial actor waits until Tune
has seen all actors start.
"""

import itertools
import time
from dataclasses import dataclass, field

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

_MAX_WAIT_S = 120.0
"""Seconds after which a trial proceeds anyway, so that one missing actor cannot block the sweep."""
_RETRY_S = 0.2
"""Seconds between two questions to the slots."""


@dataclass
class StartBarrier:
    """A start barrier that the driver opens once; picklable, because trials run in processes.

    Attributes:
        slots: Slot actors. Each one stores whether the barrier is open, since any may be killed.
        name: Unique name of this barrier.
    """

    slots: tuple[ActorHandle, ...]
    name: str
    _has_passed: bool = field(default=False, init=False)

    def open(self) -> None:
        """Open the barrier for all trials, without waiting for the slots to record it."""
        for slot in self.slots:
            # Not awaited: a slot that is down must not block the driver.
            slot.open_barrier.remote(self.name)

    def wait(self) -> None:
        """Block until the barrier is open, at most 120 s; return at once after the first call."""
        deadline = time.monotonic() + _MAX_WAIT_S
        # Slots are asked in turn: a killed slot restarts empty and would answer "closed" forever.
        for slot in () if self._has_passed else itertools.cycle(self.slots):
            if self._is_open(slot) or time.monotonic() > deadline:
                break
            time.sleep(_RETRY_S)
        self._has_passed = True

    def _is_open(self, slot: ActorHandle) -> bool:
        """Return whether a slot has recorded the barrier as open; False while the slot is down."""
        try:
            return bool(ray.get(slot.is_barrier_open.remote(self.name)))
        except RayActorError:
            return False
