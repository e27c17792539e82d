"""A corpus of videos, or of folders of images, that are listed in one TSV per split.

Two kinds of tables can be read: those of `tsv_rows` (`signal`, `signal_start`, …) and the input of
SSVP-SLT's extraction (`video_name`, `duration`, `caption`), in which a name without a suffix is
that of an `.mp4`. With `source.poses`, the `.pose` file of its video is an auxiliary file of each
clip.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.config.recipe.source import VideoTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.paths import resolve_path_inside
from kinesweep.core.video_files import VideoSegment, is_video_file
from kinesweep.sources.pose_format.pose_file import read_frame_size
from kinesweep.sources.tsv.media_tsv import MediaTsvSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import Table, read_table
from kinesweep.sources.tsv.tsv_rows import MediaKind, RowReader, get_pose_path
from kinesweep.sources.video.frame_reader import get_duration_s
from kinesweep.sources.video.video_reader import has_images

_SSVP_COLUMNS = {"video_name": "signal", "caption": "output"}
_UNUSED_COLUMN = "duration"  # of SSVP-SLT's tables; durations are read from the videos themselves
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
        return VideoSegment(path, clip.span, self.config.fps, *self.list_auxiliary_files(clip))

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
            raise ClipError(
                f"{clip.row}: `{path}`, the poses of `{clip.media}`, does not exist; create it with"
                " `kinesweep estimate-poses VIDEOS --out POSES`",
                "missing_pose",
            )
        return (path,)

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

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's table in either format, and return its clips, invalid rows and errors."""
        table = read_table(path, self.get_table_name(split))
        if not set(_SSVP_COLUMNS) <= set(table.header):
            return super().read_rows(split, path)
        ignored_columns = (*self._table_config.ignore_columns, _UNUSED_COLUMN)
        rows = RowReader(
            _rename_columns(table), split, "ms", ignored_columns, media_kind=self.media_kind
        ).read()
        rows.clips = [_add_default_suffix(clip) for clip in rows.clips]
        return rows


def _rename_columns(table: Table) -> Table:
    """Return a table in SSVP-SLT's format with the column names of `tsv_rows`."""
    header = tuple(_SSVP_COLUMNS.get(column, column) for column in table.header)
    return replace(table, header=header)


def _add_default_suffix(clip: Clip) -> Clip:
    """Return a clip whose media name ends in `.mp4` if it has no suffix of a video.

    SSVP-SLT's tables may omit the suffix.
    """
    return clip if is_video_file(clip.media) else replace(clip, media=clip.media + _DEFAULT_SUFFIX)
