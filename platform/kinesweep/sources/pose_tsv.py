"""A corpus of `.pose` files listed in one TSV a split."""

from typing import Any

from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.core.pose import PoseSequence
from kinesweep.core.recipe.source import PoseTsvConfig
from kinesweep.sources.pose_file import read_pose
from kinesweep.sources.pose_rows import MediaKind
from kinesweep.sources.tsv import TsvSource


class PoseTsvSource(TsvSource):
    """The source `pose_tsv`.

    Args:
        config: which tables; relative paths are of the current folder, now.
    """

    def __init__(self, config: PoseTsvConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def media(self) -> MediaKind:
        """Pose files; or films, where these are estimated first."""
        return "poses" if self.config.videos is None else "films"

    def reading(self) -> dict[str, Any]:
        """The chosen person."""
        return {"source": self.config.kind, "person": self.config.person}

    def read(self, clip: Clip) -> PoseSequence:
        """The clip's span of its file, person `source.person` alone.

        Raises:
            ClipError: see `read_pose`; the message begins with the clip's row.
        """
        path = self.media_path(clip)
        try:
            return read_pose(path, clip.span, self.config.person)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
