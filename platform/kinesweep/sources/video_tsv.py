"""A corpus of videos, or of folders of pictures, listed in one TSV a split.

Two kinds of table are read: ours (`signal`, `signal_start`, …), and the one that SSVP-SLT's
extraction takes (`video_name`, `duration`, `caption`), in which a name without a suffix is that of
an `.mp4`. With `source.poses` each clip has its video's `.pose` file for a companion.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.media import Footage, holds_pictures, is_video
from kinesweep.core.paths import inside
from kinesweep.core.recipe.source import VideoTsvConfig
from kinesweep.sources.footage import seconds
from kinesweep.sources.pose_file import read_frame_size
from kinesweep.sources.pose_rows import MediaKind, RowReader, pose_of
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import Table, read_table
from kinesweep.sources.tsv import TsvSource

_PUBLISHED = {"video_name": "signal", "caption": "output"}
_UNUSED = "duration"
_DEFAULT_SUFFIX = ".mp4"


class VideoTsvSource(TsvSource):
    """The source `video_tsv`.

    Args:
        config: which tables; relative paths are of the current folder, now.
    """

    unusable: ClassVar[str] = "is neither a file nor a folder of pictures"

    def __init__(self, config: VideoTsvConfig) -> None:
        super().__init__(config)
        self.config = config
        self._poses = Path(config.poses).absolute() if config.poses is not None else None

    @property
    def media(self) -> MediaKind:
        """Videos and folders of pictures."""
        return "videos"

    def usable(self, path: Path) -> bool:
        """Whether a video lies there."""
        return path.is_file() or holds_pictures(path)

    def reading(self) -> dict[str, Any]:
        """The rate of folders of pictures."""
        return {"source": self.config.kind, "fps": self.config.fps}

    def read(self, clip: Clip) -> Footage:
        """Where the clip's stretch of film lies; nothing is opened.

        Raises:
            ClipError: reason `outside_root`, `missing_file`, `not_a_file` or `missing_pose`.
        """
        path = self.media_path(clip)
        fps = self.config.fps if path.is_dir() else None
        return Footage(path, clip.span, fps, *self.companions(clip))

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """The video's poses, where the recipe says that there are any.

        Raises:
            ClipError: reason `outside_root` or `missing_pose`.
        """
        if self._poses is None:
            return ()
        path = inside(self._poses, pose_of(clip.media))
        if not path.is_file():
            raise ClipError(
                f"{clip.row}: `{path}`, the poses of `{clip.media}`, does not exist; write it with"
                " `kinesweep estimate VIDEOS --out POSES`",
                "missing_pose",
            )
        return (path,)

    def probe(self, clip: Clip) -> None:
        """Opens the video and decodes its first frame; of its poses the beginning is read.

        Raises:
            ClipError: that is not possible, or the span is not in it.
        """
        try:
            footage = self.read(clip)
            seconds(footage)
            if footage.pose is not None:
                read_frame_size(footage.pose)
        except ClipError as error:
            text = str(error)
            raise ClipError(
                text if text.startswith(clip.row) else f"{clip.row}: {text}", error.reason
            ) from None

    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's table as rows, of either kind."""
        table = read_table(path, self.table_name(split))
        if not set(_PUBLISHED) <= set(table.header):
            return super().read_rows(split, path)
        ignored = (*self._common.ignore_columns, _UNUSED)
        rows = RowReader(_renamed(table), split, "ms", ignored, media=self.media).read()
        rows.clips = [_with_suffix(clip) for clip in rows.clips]
        return rows


def _renamed(table: Table) -> Table:
    """A published manifest under our columns' names."""
    header = tuple(_PUBLISHED.get(column, column) for column in table.header)
    return replace(table, header=header)


def _with_suffix(clip: Clip) -> Clip:
    """Published manifests name videos without what they end with."""
    return clip if is_video(clip.media) else replace(clip, media=clip.media + _DEFAULT_SUFFIX)
