"""From a caption track to captions: each cue becomes one caption or is counted with a reason.

The reasons are `bad_time`, `negative_time`, `no_time` (a block without a timing line),
`zero_length`, `end_before_start`, `duplicate` (equal times and text), `rolling_repeat` (shows only
lines that an earlier cue has shown), `music`, `sound` and `empty` (nothing is left of the text),
and `too_short`.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from kinesweep.sources.prepare.captions.caption_text import clean_caption_text
from kinesweep.sources.prepare.captions.caption_track import CaptionTrack, Cue
from kinesweep.sources.prepare.captions.rolling_captions import (
    join_rolling_cues,
    trim_overlapping_ends,
)
from kinesweep.sources.prepare.clip_annotation import find_span_fault


@dataclass(frozen=True)
class Caption:
    """A caption of a video.

    Attributes:
        start_ms: Start in milliseconds.
        end_ms: End in milliseconds.
        text: Spoken text.
    """

    start_ms: float
    end_ms: float
    text: str


@dataclass
class CaptionResult:
    """The captions of a track.

    Attributes:
        captions: Captions in the order of their starts.
        dropped: Location and reason of each cue that is no caption.
        removed_marks: Number of marks that were removed from texts, by kind.
    """

    captions: list[Caption] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    removed_marks: Counter[str] = field(default_factory=Counter)


def build_captions(track: CaptionTrack) -> CaptionResult:
    """Convert the cues of a track to captions.

    Args:
        track: Content of a caption file.
    """
    result = CaptionResult(dropped=list(track.dropped))
    cues, repeated = join_rolling_cues(_select_valid_cues(track.cues, result))
    result.dropped += [(cue.location, "rolling_repeat") for cue in repeated]
    if track.ends_overlap:
        cues = trim_overlapping_ends(cues, track.is_automatic)
    for cue in cues:
        text, counts = clean_caption_text("\n".join(cue.lines))
        result.removed_marks += counts
        reason = find_span_fault(cue.start_ms, cue.end_ms)
        if not text:
            reason = next((kind for kind in ("music", "sound") if counts[kind]), "empty")
        if reason:
            result.dropped.append((cue.location, reason))
        else:
            result.captions.append(Caption(cue.start_ms, cue.end_ms, text))
    return result


def _select_valid_cues(cues: list[Cue], result: CaptionResult) -> list[Cue]:
    """Return the cues with a text and a duration once each, in the order of their starts.

    Args:
        cues: Cues in the order of the file.
        result: Result to which the other cues are added with their reasons.
    """
    valid_cues: list[Cue] = []
    seen: set[Cue] = set()
    for cue in cues:
        key = replace(cue, location="")
        if not cue.lines:
            reason = "empty"
        elif cue.end_ms <= cue.start_ms:
            reason = "zero_length" if cue.end_ms == cue.start_ms else "end_before_start"
        else:
            reason = "duplicate" if key in seen else ""
        if reason:
            result.dropped.append((cue.location, reason))
        else:
            seen.add(key)
            valid_cues.append(cue)
    # Stable: cues with equal starts stay in the order of the file, as players show them.
    return sorted(valid_cues, key=lambda cue: cue.start_ms)
