"""A corpus of `.pose` files that are listed in one TSV per split."""

from dataclasses import replace
from typing import Any

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.skeleton.pose import PoseSequence
from kinesweep.core.units import Span
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.media_tsv import MediaTsvSource


class PoseTsvSource(MediaTsvSource):
    """A source of pose files (`pose_tsv`).

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    def __init__(self, config: PoseTsvConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def media_kind(self) -> MediaKind:
        """Return `poses`, or `poses_or_videos` if the tables name the videos of the poses."""
        names_videos = self.config.videos is not None or self.config.names_videos
        return "poses_or_videos" if names_videos else "poses"

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source, the selected person, and the rate if it is replaced."""
        options = {"source": self.config.kind, "person": self.config.person}
        # Left out if it is not set, so that fingerprints of earlier stores stay valid.
        return options if self.config.pose_fps is None else {**options, "fps": self.config.pose_fps}

    def read_duration_s(self, clip: Clip) -> float:
        """Return the duration of a clip's whole file in seconds.

        Raises:
            ClipError: If the file cannot be read.
        """
        pose = self.read(replace(clip, span=Span()))
        return len(pose.points_TPJC) / pose.fps

    def read(self, clip: Clip) -> PoseSequence:
        """Read the poses of person `source.person` in the clip's span of its file (P = 1).

        Raises:
            ClipError: With a reason of `resolve_media_path` or `read_pose`; the message begins with
                the clip's row.
        """
        path = self.resolve_media_path(clip)
        try:
            return read_pose(path, clip.span, self.config.person, self.config.pose_fps)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
