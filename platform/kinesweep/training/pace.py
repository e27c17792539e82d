"""How fast a run goes, between two moments of it: for the tracker and the boards, by the clock."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """A moment of a run.

    Attributes:
        time_s: by a clock that only goes forward.
        step: optimiser steps done.
        samples: clips seen, over all workers.
        frames: read by this worker, without padding.
        places: read by this worker, padding included.
    """

    time_s: float
    step: int
    samples: int
    frames: int
    places: int


def pace(before: Mark, now: Mark) -> dict[str, float]:
    """`samples_per_s`, and where there was a step `step_s` and `padding_share`."""
    seconds = max(1e-9, now.time_s - before.time_s)
    found = {"samples_per_s": (now.samples - before.samples) / seconds}
    if now.step > before.step:
        found["step_s"] = seconds / (now.step - before.step)
    if now.places > before.places:
        found["padding_share"] = 1 - (now.frames - before.frames) / (now.places - before.places)
    return found
