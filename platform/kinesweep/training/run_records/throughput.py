"""Throughput of a run between two points in time, by the clock; for tracker and dashboards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mark:
    """The state of a run at one point in time.

    Attributes:
        time_s: Time in seconds of a monotonic clock.
        step: Number of optimizer steps done.
        samples: Number of clips seen by all workers.
        frames: Number of frames read by this worker, without padding.
        places: Number of frames read by this worker, with padding.
    """

    time_s: float
    step: int
    samples: int
    frames: int
    places: int


def pace(before: Mark, now: Mark) -> dict[str, float]:
    """Return `samples_per_s`, and `step_s` and `padding_share` if there was a step in between."""
    # Two marks may have the same time on a coarse clock.
    seconds = max(1e-9, now.time_s - before.time_s)
    found = {"samples_per_s": (now.samples - before.samples) / seconds}
    if now.step > before.step:
        found["step_s"] = seconds / (now.step - before.step)
    if now.places > before.places:
        found["padding_share"] = 1 - (now.frames - before.frames) / (now.places - before.places)
    return found
