"""The protocol of a source: list clips without opening media, then read them one by one.

Listing is cheap and returns the whole corpus (30,000 rows of a TSV in well under a second). Reading
is expensive and may happen in any process, so a source must pickle and must hold no open files.
Invalid input is an error or a counted invalid row; it is never replaced by something else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.video_files import VideoSegment


@dataclass(frozen=True)
class PrecomputedFeatures:
    """Precomputed features, float32 (T, D), and their rate in features per second."""

    x_TD: NDArray[np.float32]
    rate_hz: float


@dataclass(frozen=True)
class SkeletonMotion:
    """The skeleton of a clip over time, with an optional reference motion to compare it with.

    Attributes:
        pose: Motion of the clip; one person.
        reference_pose: Reference motion: a correct execution of the motion with the same points,
            or None if the clip has no reference motion.
    """

    pose: PoseSequence
    reference_pose: PoseSequence | None = None


@dataclass(frozen=True)
class SourceText:
    """A text to translate.

    Attributes:
        text: The text, or signs in Formal SignWriting.
        is_signwriting: Whether the text is SignWriting.
    """

    text: str
    is_signwriting: bool = False


@dataclass(frozen=True)
class SourceImage:
    """An image to translate, uint8 RGB of any size, (H, W, 3)."""

    pixels_HW3: NDArray[np.uint8]


TABLE_ERROR = "table_error"
"""Reason of a row that is malformed, which makes its whole corpus unreadable."""


@dataclass(frozen=True)
class CorpusRows:
    """All rows of a corpus, also if some of them are malformed.

    Attributes:
        clips: Clips of the usable rows of all splits, in the order of the splits and tables.
        invalid_rows: Rows that are well formed but unusable.
        errors: Malformed rows, with the reason `table_error`; any of them makes `list_clips` fail.
    """

    clips: list[Clip]
    invalid_rows: list[InvalidRow]
    errors: list[InvalidRow]


PrecomputedStreams = dict[str, PrecomputedFeatures]
"""Stream name → features, for corpora with several streams; lengths and rates may differ."""
Media = (
    PoseSequence
    | VideoSegment
    | PrecomputedFeatures
    | PrecomputedStreams
    | SkeletonMotion
    | SourceText
    | SourceImage
)
"""Type that `Source.read` returns; the feature step of the same recipe takes it as input."""


@dataclass(frozen=True)
class MediaDigest:
    """The SHA-256 digest and the size in bytes of the data that belongs to one clip."""

    sha256: str
    num_bytes: int


class Source(Protocol):
    """The protocol of a corpus reader, which lists clips and reads their media.

    Implementations must pickle and must return the same lists in the same order on every call.
    """

    def list_splits(self) -> tuple[str, ...]:
        """Return the names of the corpus's splits in the order train, validation, test."""

    def list_clips(self, split: str) -> list[Clip]:
        """Return the usable clips of a split in the order of its metadata, without opening media.

        Raises:
            SourceError: If the metadata is malformed; all errors at once, each with its location.
            InputError: If the corpus has no such split.
        """

    def list_invalid_rows(self) -> list[InvalidRow]:
        """Return the rows of all splits that are well formed but unusable, in metadata order.

        `list_clips` does not contain these rows; the store counts them as dropped.

        Raises:
            SourceError: If the metadata is malformed.
        """

    def read_all_rows(self) -> CorpusRows:
        """Return the clips, invalid rows and malformed rows of all splits without an error.

        A check of the corpus uses it to report everything in one run; `list_clips` and
        `list_invalid_rows` refuse a corpus with a malformed row.
        """

    def get_row_position(self, row: str) -> tuple[int, ...]:
        """Return numbers by which the rows of the corpus are sorted in the order of its tables.

        Args:
            row: Location of a clip or an invalid row, for example `train.tsv:12`.
        """

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the absolute path of the clip's media file or folder of images.

        Raises:
            ClipError: With reason `outside_root`, `missing_file` or `not_a_file`.
        """

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the paths of the files that a clip's features depend on besides its media file.

        Raises:
            ClipError: With reason `outside_root`, or a reason that begins with `missing_`, if such
                a file cannot be located.
        """

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the content digest of each clip whose media file also contains other clips.

        An unusable clip is mapped to its error instead. A clip that is missing from the result is
        identified by its whole file and its auxiliary files, which the store hashes.

        Args:
            clips: Clips from any split.
        """

    def get_read_options(self) -> dict[str, Any]:
        """Return the options that determine how a file's content is read, by name."""

    def read(self, clip: Clip) -> Media:
        """Return the media of a clip: its span of its file, and for poses one person (P = 1).

        A video is not opened: the returned `VideoSegment` states its path and span.

        Raises:
            ClipError: If the clip is unusable, with the reason under which it is counted.
        """

    def verify_clip(self, clip: Clip) -> None:
        """Check that a clip can be read; a video is opened for it.

        Raises:
            ClipError: If it cannot be read.
        """

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Open the media of every clip of all splits and return all invalid rows.

        The result contains `list_invalid_rows()` and one row for each clip whose media cannot be
        read, in the order of the metadata.

        Args:
            progress: Function to call after each clip with the number of clips that were checked
                and the number of all clips.

        Raises:
            SourceError: If the metadata is malformed.
        """
