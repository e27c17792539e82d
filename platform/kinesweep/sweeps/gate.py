"""The gate that no trial passes before all trial actors have started.

Tune hands the actor of a trial that ends to the trial that waits for one. While that trial's own
actor still starts, Tune drops it and asks for another one for the next trial, which is dropped in
the same way: trials that are shorter than the start of a process start a process each, for nothing.
So the first report of each trial actor waits until Tune has seen all of them.
"""

import itertools
import time
from dataclasses import dataclass, field

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

_LONGEST_S = 120.0
"""Then trials go on all the same: an actor that does not start is no reason to stand still."""
_RETRY_S = 0.2


@dataclass
class Gate:
    """A gate that the driver opens once; picklable, for trials in other processes.

    Attributes:
        slots: actors that keep what is open, each for itself, since any of them may be killed.
        name: of this gate, and no other.
    """

    slots: tuple[ActorHandle, ...]
    name: str
    _passed: bool = field(default=False, init=False)

    def open(self) -> None:
        """Lets all trials pass."""
        for slot in self.slots:
            slot.open_gate.remote(self.name)

    def wait(self) -> None:
        """Until it is open; the second time nothing is asked."""
        until = time.monotonic() + _LONGEST_S
        for slot in () if self._passed else itertools.cycle(self.slots):
            if self._is_open(slot) or time.monotonic() > until:
                break
            time.sleep(_RETRY_S)
        self._passed = True

    def _is_open(self, slot: ActorHandle) -> bool:
        try:
            return bool(ray.get(slot.is_gate_open.remote(self.name)))
        except RayActorError:
            return False
