"""A corpus of videos, or of folders of images, that are listed in one TSV per split.

Two kinds of tables can be read: those of `tsv_rows` (`signal`, `signal_start`, …) and the input of
SSVP-SLT's extraction (`video_name`, `duration`, `caption`), which may lack its header and in which
a name without a suffix is that of an `.mp4`. A video `NAME` that does not exist is also looked for
at `NAME[:5]/NAME`, where SSVP-SLT puts it. With `source.poses`, the `.pose` file of its video is an
auxiliary file of each clip.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from kinesweep.config.recipe.source import VideoTsvConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.core.units import Span
from kinesweep.core.video_files import VideoSegment, is_video_file
from kinesweep.sources.pose_format.pose_file import read_frame_size
from kinesweep.sources.tsv.media_names import MediaKind, get_pose_path
from kinesweep.sources.tsv.media_tsv import MediaTsvSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME
from kinesweep.sources.tsv.tsv_reader import Table, read_table
from kinesweep.sources.video.frame_reader import get_duration_s
from kinesweep.sources.video.video_reader import has_images

_SSVP_COLUMNS = (
    {"video_name": "signal", "caption": "output"},
    {"video_name": "signal", "label": "output"},
)
"""Column names of SSVP-SLT's tables of videos, and of its manifests, → those of `tsv_rows`."""
# Columns of SSVP-SLT's tables that are not used; durations are read from the videos themselves.
_UNUSED_COLUMNS = ("duration", "length")
_PREFIX_LENGTH = 5
"""Number of characters of a video's name that name its folder in SSVP-SLT's layout."""
_DEFAULT_SUFFIX = ".mp4"


class VideoTsvSource(MediaTsvSource):
    """A source of videos (`video_tsv`).

    Args:
        config: Tables, root folder and poses; relative paths are resolved against the current
            folder at construction.
    """

    invalid_media_message: ClassVar[str] = "is neither a file nor a folder of pictures"

    def __init__(self, config: VideoTsvConfig) -> None:
        super().__init__(config)
        self.config = config
        self._poses_dir = Path(config.poses).absolute() if config.poses is not None else None

    @property
    def media_kind(self) -> MediaKind:
        """Return `videos`, because rows may name videos and folders of images only."""
        return "videos"

    def is_valid_media(self, path: Path) -> bool:
        """Return whether a path leads to media: to a file or to a folder with images."""
        return path.is_file() or has_images(path)

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source and the frame rate that the recipe states.

        Folders of images do not store their frame rate; for videos it decides which frames are
        chosen.
        """
        return {"source": self.config.kind, "fps": self.config.fps}

    def read(self, clip: Clip) -> VideoSegment:
        """Return the path and span of the clip's video as a segment, without opening the video.

        Raises:
            ClipError: With reason `outside_root`, `missing_file`, `not_a_file` or `missing_pose`.
        """
        path = self.resolve_media_path(clip)
        pose_path = next(iter(self.list_auxiliary_files(clip)), None)
        return VideoSegment(path, clip.span, self.config.fps, pose_path)

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the path of the video's `.pose` file if `source.poses` is set, or else no path.

        Raises:
            ClipError: With reason `outside_root` or `missing_pose`.
        """
        if self._poses_dir is None:
            return ()
        # The folder of poses has the same structure as the root of the videos.
        path = resolve_path_inside(self._poses_dir, get_pose_path(clip.media))
        if not path.is_file():
            nested_media = _get_nested_media(clip.media)
            nested_path = resolve_path_inside(self._poses_dir, get_pose_path(nested_media))
            if nested_path.is_file():
                return (nested_path,)
            raise ClipError(
                f"{clip.row}: `{path}`, the poses of `{clip.media}`, does not exist; create it with"
                " `kinesweep estimate-poses VIDEOS --out POSES`",
                "missing_pose",
            )
        return (path,)

    def resolve_media_path(self, clip: Clip) -> Path:
        """Return the absolute path of the clip's video, also if it lies in SSVP-SLT's folder.

        Raises:
            ClipError: With reason `outside_root`, `missing_file` or `not_a_file`.
        """
        try:
            return super().resolve_media_path(clip)
        except ClipError as error:
            if error.reason != "missing_file":
                raise
            try:
                return super().resolve_media_path(
                    replace(clip, media=_get_nested_media(clip.media))
                )
            except ClipError:
                raise error from None

    def read_duration_s(self, clip: Clip) -> float:
        """Return the duration of a clip's whole video in seconds.

        Raises:
            ClipError: If the video cannot be opened.
        """
        return get_duration_s(self.read(replace(clip, span=Span())))

    def verify_clip(self, clip: Clip) -> None:
        """Check that the first frame of a clip's video and the header of its poses can be read.

        Raises:
            ClipError: If either cannot be read, or the video does not contain the span. The message
                begins with the clip's row.
        """
        try:
            segment = self.read(clip)
            get_duration_s(segment)
            if segment.pose_path is not None:
                read_frame_size(segment.pose_path)
        except ClipError as error:
            text = str(error)
            # Errors from `read` name the row already; those from the decoder name only the file.
            raise ClipError(
                text if text.startswith(clip.row) else f"{clip.row}: {text}", error.reason
            ) from None

    def _assume_columns(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Return SSVP-SLT's columns for a table without a header, or nothing if it has one.

        Such a table begins with a row of three fields, the second of which is a number, or of two
        that resemble no column name.
        """
        known_names = [*MEANING_BY_NAME, "video_name", "caption", "label", *_UNUSED_COLUMNS]
        if any(field in known_names or field in self.config.ignore_columns for field in fields):
            return ()
        if len(fields) == 2 and not any(
            suggest_closest_word(field.lower(), known_names) for field in fields
        ):
            return ("video_name", "caption")
        is_manifest = len(fields) == 3 and re.fullmatch(r"\d+(\.\d*)?", fields[1], re.ASCII)
        return ("video_name", "duration", "caption") if is_manifest else ()

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's table in either format, and return its clips, invalid rows and errors."""
        table = read_table(path, self.get_table_name(split), self._assume_columns)
        if not any(set(columns) <= set(table.header) for columns in _SSVP_COLUMNS):
            return super().read_rows(split, path)
        rows = self.parse_table(_rename_columns(table), split, "ms", _UNUSED_COLUMNS)
        rows.clips = [_add_default_suffix(clip) for clip in rows.clips]
        return rows


def _get_nested_media(media: str) -> str:
    """Return the path of a video in SSVP-SLT's layout, in which a prefix names its folder."""
    path = PurePosixPath(media)
    return (path.parent / path.name[:_PREFIX_LENGTH] / path.name).as_posix()


def _rename_columns(table: Table) -> Table:
    """Return a table in SSVP-SLT's format with the column names of `tsv_rows`."""
    names = {name: meaning for columns in _SSVP_COLUMNS for name, meaning in columns.items()}
    return replace(table, header=tuple(names.get(column, column) for column in table.header))


def _add_default_suffix(clip: Clip) -> Clip:
    """Return a clip whose media name ends in `.mp4` if it has no suffix of a video.

    SSVP-SLT's tables may omit the suffix.
    """
    return clip if is_video_file(clip.media) else replace(clip, media=clip.media + _DEFAULT_SUFFIX)
