"""A corpus of images that are listed in one TSV per split; a clip is one image.

The tables are those of MultimodalHugs for images to text: the columns of `tsv_rows`, where a signal
is the path of an image; times must be empty or 0.
"""

from typing import Any, ClassVar

from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import SourceImage
from kinesweep.sources.frame_range import check_has_no_span
from kinesweep.sources.images.image_file import read_image
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.media_tsv import MediaTsvSource


class ImageTsvSource(MediaTsvSource):
    """A source of images (`image_tsv`).

    Args:
        config: Tables and root folder; relative paths are resolved against the current folder at
            construction.
    """

    outside_root_advice: ClassVar[str] = "set `source.root` to a folder that holds all images"

    def __init__(self, config: ImageTsvConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def media_kind(self) -> MediaKind:
        """Return `images`."""
        return "images"

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source."""
        return {"source": self.config.kind}

    def read_duration_s(self, clip: Clip) -> float:
        """Raise an error, because an image has no duration.

        Raises:
            ClipError: With reason `no_duration`.
        """
        raise ClipError(f"{clip.row}: an image has no duration", "no_duration")

    def read(self, clip: Clip) -> SourceImage:
        """Read the image of a clip.

        Raises:
            ClipError: With reason `span_without_times`, or one of `resolve_media_path` or
                `read_image`; the message begins with the clip's row.
        """
        check_has_no_span(clip)
        path = self.resolve_media_path(clip)
        try:
            return SourceImage(read_image(path))
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None
