"""What a source of clips must do: list its metadata without opening media, then read clip by clip.

Lists and single clips pass through here. Listing is cheap and whole (30,000 rows of a TSV in well
under a second); reading is the expensive part and happens in any process, so a source pickles and
carries no open files. What is wrong is an error or a counted problem, never a substitute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.errors import ClipError
from kinesweep.core.media import Footage
from kinesweep.core.pose import PoseSequence


@dataclass(frozen=True)
class GivenFeatures:
    """Features that were computed elsewhere, float32 (T, D), and their rate."""

    x_TD: NDArray[np.float32]
    rate_hz: float


@dataclass(frozen=True)
class Motion:
    """A clip's skeleton over time, and that which it is compared with.

    Attributes:
        pose: of the clip, one person.
        reference: the motion as it should be, points as the pose's; None: there is none.
    """

    pose: PoseSequence
    reference: PoseSequence | None = None


GivenStreams = dict[str, GivenFeatures]
"""Stream → its features, where a corpus brings several; lengths and rates may differ."""
Media = PoseSequence | Footage | GivenFeatures | GivenStreams | Motion
"""What a source reads of a clip; the feature step of the same recipe takes it."""


@dataclass(frozen=True)
class Content:
    """What is read of a clip: its hash and size."""

    sha256: str
    num_bytes: int


class Source(Protocol):
    """A corpus. Implementations pickle, and give the same lists in the same order every time."""

    def splits(self) -> tuple[str, ...]:
        """The splits that the corpus has, in the order train, validation, test."""

    def clips(self, split: str) -> list[Clip]:
        """The usable clips of a split in a fixed order; opens no media.

        Raises:
            SourceError: the metadata is malformed (all faults at once, each with file and line), or
                there is no such split.
        """

    def problems(self) -> list[RowProblem]:
        """Rows that are well formed but cannot be used; they are counted and not in `clips`.

        Raises:
            SourceError: as `clips`.
        """

    def media_path(self, clip: Clip) -> Path:
        """The absolute path of the clip's file, or of its folder of pictures.

        Raises:
            ClipError: reason `outside_root`, `missing_file` or `not_a_file`.
        """

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """Files that are read beside the clip's own; its features depend on their content too.

        Raises:
            ClipError: reason `outside_root`, or one that begins with `missing_`.
        """

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, Content | ClipError]:
        """Content of clips whose files hold other clips too, or why they cannot be used.

        A clip that is not in the answer is its file and its companions, which the store hashes.

        Args:
            clips: of any split.
        """

    def reading(self) -> dict[str, Any]:
        """What decides, beside a file's content, what is read of it; plain values."""

    def read(self, clip: Clip) -> Media:
        """The clip's span of its file: of poses the chosen person alone (P = 1).

        A video is not opened: its footage says where it lies.

        Raises:
            ClipError: with the reason under which the clip is counted.
        """

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[RowProblem]:
        """`problems()` and what opening every file brings to light, in the order of the rows.

        Args:
            progress: called with clips done and clips in all, after each clip.

        Raises:
            SourceError: as `clips`.
        """
