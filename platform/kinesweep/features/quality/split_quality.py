"""The quality of the poses of a split: how often each part of the body was detected.

It is computed from the statistics of the clips (`media_statistics`), so a check of the corpus, an
extraction and a finished store report the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.core.clip import Clip
from kinesweep.features.quality.media_statistics import PARTS, MediaStatistics

MAX_ZERO_SHARE = 0.01
"""Largest share of detections at the origin without a warning: 37 files of 6 published corpora have
none at all."""
ClipStatistics = tuple[Clip, MediaStatistics]


@dataclass(frozen=True)
class SplitQuality:
    """The quality of the poses of one split.

    Attributes:
        clips: Number of clips with statistics.
        frames: Number of their frames.
        rates: Lowest and highest frame rate in frames per second.
        detection: Part of the body → share of the frames in which it is detected, of the clips
            whose layout has the part; empty if no file stores confidences.
        constant_clips: Number of clips with points that never move.
        zero_clips: Number of clips with too many detections at the origin.
    """

    clips: int
    frames: int
    rates: tuple[float, float]
    detection: dict[str, float]
    constant_clips: int
    zero_clips: int

    def to_json(self) -> dict[str, Any]:
        """Convert the quality to plain values that JSON can represent."""
        return {**vars(self), "rates": list(self.rates)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SplitQuality":
        """Build the quality of a split from the output of `to_json`."""
        low, high = values["rates"]
        return cls(**{**values, "rates": (low, high)})


def compute_split_quality(statistics: Sequence[MediaStatistics]) -> SplitQuality:
    """Compute the quality of a split from the statistics of its clips, at least one."""
    frames_with: Counter[str] = Counter()
    frames_of: Counter[str] = Counter()
    for clip in statistics:
        if clip.has_confidence:
            frames_with.update(clip.frames_with)
            # Only clips that have the part count: a corpus may mix layouts.
            frames_of.update(dict.fromkeys(clip.frames_with, clip.num_frames))
    rates = [clip.fps for clip in statistics]
    return SplitQuality(
        clips=len(statistics),
        frames=sum(clip.num_frames for clip in statistics),
        rates=(min(rates), max(rates)),
        detection={
            part: round(frames_with[part] / frames_of[part], 4) for part in PARTS if frames_of[part]
        },
        constant_clips=sum(clip.num_constant_points > 0 for clip in statistics),
        zero_clips=sum(map(has_zeros, statistics)),
    )


def compute_quality(items: Iterable[ClipStatistics]) -> dict[str, SplitQuality]:
    """Compute the quality of each split: split → quality, for splits that have statistics."""
    statistics: dict[str, list[MediaStatistics]] = {}
    for clip, clip_statistics in items:
        statistics.setdefault(clip.split, []).append(clip_statistics)
    return {split: compute_split_quality(values) for split, values in statistics.items()}


def parse_quality_section(section: Mapping[str, Mapping[str, Any]]) -> dict[str, SplitQuality]:
    """Parse the section `quality` of a store's manifest: split → quality."""
    return {split: SplitQuality.from_json(values) for split, values in section.items()}


def build_quality_rows(quality: Mapping[str, SplitQuality]) -> list[tuple[str, ...]]:
    """Build the rows of a table for people: the header, then one row per split.

    Parts that no split has get no column; what is unknown is shown as `n/a`.
    """
    parts = [part for part in PARTS if any(part in split.detection for split in quality.values())]
    titles = [part.replace("_", " ") for part in parts or PARTS[:1]]
    header = ("split", "clips", "frames", "frames/s", *titles, "frozen points", "zeros")
    rows = [header]
    for name, split in quality.items():
        low, high = split.rates
        rate = f"{low:g}" if low == high else f"{low:g}–{high:g}"
        shares = [
            f"{split.detection[part]:.1%}" if part in split.detection else "n/a"
            for part in parts or PARTS[:1]
        ]
        counts = (f"{split.constant_clips} clips", f"{split.zero_clips} clips")
        rows.append((name, str(split.clips), str(split.frames), rate, *shares, *counts))
    return rows


def has_zeros(statistics: MediaStatistics) -> bool:
    """Return whether a clip has too many detections at the origin."""
    return statistics.num_zeros > MAX_ZERO_SHARE * statistics.num_detections
