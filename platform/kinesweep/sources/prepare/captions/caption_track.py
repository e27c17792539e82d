"""The values that caption readers return: raw cues, in milliseconds, and what a file tells of them.

Times are checked here once for all formats: NaN, infinite and negative times never become a clip,
but are counted.
"""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cue:
    """A text that is shown for a time, as a file lists it.

    Attributes:
        start_ms: Start in milliseconds.
        end_ms: End in milliseconds, which may be at or before the start.
        lines: Lines of the text with their markup.
        location: Location of the cue in messages, for example `abc.en.vtt:12`.
    """

    start_ms: float
    end_ms: float
    lines: tuple[str, ...]
    location: str = ""


@dataclass
class CaptionTrack:
    """The content of a caption file.

    Attributes:
        cues: Cues in the order of the file.
        dropped: Location and reason of each cue without usable times.
        language: Language tag that the file states, or empty.
        is_automatic: Whether the file shows that its captions were recognized automatically.
        ends_overlap: Whether the ends may be those of the display, at which the line has already
            moved up for the next one, as in YouTube's JSON and XML.
    """

    cues: list[Cue] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    language: str = ""
    is_automatic: bool = False
    ends_overlap: bool = False

    def add_cue(self, start_ms: float, end_ms: float, text: str, location: str) -> None:
        """Add a cue, or count it if a time is not finite or negative.

        Args:
            start_ms: Start in milliseconds.
            end_ms: End in milliseconds.
            text: Text with its markup and line feeds.
            location: Location of the cue for messages.
        """
        if not (math.isfinite(start_ms) and math.isfinite(end_ms)):
            self.dropped.append((location, "bad_time"))
        elif start_ms < 0 or end_ms < 0:
            self.dropped.append((location, "negative_time"))
        else:
            # Rounded, because 1000 * 1.439 is 1438.9999999999998.
            lines = tuple(line for line in text.split("\n") if line.strip())
            self.cues.append(Cue(round(start_ms, 3), round(end_ms, 3), lines, location))
