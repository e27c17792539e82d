"""Throughput of a run between two points in time, for the tracker and the dashboards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ThroughputSnapshot:
    """The time and the counters of a run at one point, to measure throughput.

    Attributes:
        time_s: Reading of a monotonic clock in seconds.
        step: Number of optimizer steps done.
        samples: Number of clips seen by all workers.
        frames: Number of frames read by this worker, without padding.
        padded_frames: Number of frames read by this worker, with padding.
    """

    time_s: float
    step: int
    samples: int
    frames: int
    padded_frames: int


def compute_throughput(
    previous: ThroughputSnapshot, current: ThroughputSnapshot
) -> dict[str, float]:
    """Compute the throughput of a run between two snapshots.

    Args:
        previous: Earlier snapshot.
        current: Later snapshot of the same process.

    Returns:
        Name → value. `samples_per_s`: clips per second of all workers. `step_s`: seconds per
        optimizer step, if there was a step in between. `padding_share`: share of padding among the
        frames of this worker, if it has read any in between.
    """
    # Two snapshots may have the same time on a coarse clock.
    seconds = max(1e-9, current.time_s - previous.time_s)
    throughput = {"samples_per_s": (current.samples - previous.samples) / seconds}
    if current.step > previous.step:
        throughput["step_s"] = seconds / (current.step - previous.step)
    if current.padded_frames > previous.padded_frames:
        throughput["padding_share"] = 1 - (current.frames - previous.frames) / (
            current.padded_frames - previous.padded_frames
        )
    return throughput
