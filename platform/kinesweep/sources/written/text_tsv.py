"""A corpus of texts or of SignWriting, which one TSV per split contains in its column `signal`.

There are no media files: a row's signal is the input itself, so that a clip's digest is that of its
text. The other columns are those of `tsv_rows`; times must be empty or 0.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import MediaDigest, SourceText
from kinesweep.sources.frame_range import check_has_no_span
from kinesweep.sources.tsv.media_names import MediaKind
from kinesweep.sources.tsv.media_tsv import MediaTsvSource
from kinesweep.sources.written.fsw import parse_fsw


class TextTsvSource(MediaTsvSource):
    """A source of texts (`text_tsv`) or of signs in SignWriting (`signwriting_tsv`).

    Args:
        config: Tables; relative paths are resolved against the current folder at construction.
    """

    def __init__(self, config: TextTsvConfig | SignWritingTsvConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def media_kind(self) -> MediaKind:
        """Return `texts`."""
        return "texts"

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source."""
        return {"source": self.config.kind}

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of the text of each clip."""
        digests: dict[Clip, MediaDigest | ClipError] = {}
        for clip in clips:
            # Equal texts have equal digests, so that their tokens are computed once.
            content = clip.media.encode()
            digests[clip] = MediaDigest(hashlib.sha256(content).hexdigest(), len(content))
        return digests

    def resolve_media_path(self, clip: Clip) -> Path:
        """Raise an error, because a clip has no file.

        Raises:
            ClipError: With reason `not_a_file`.
        """
        raise ClipError(f"{clip.row}: the input is a text in the table, not a file", "not_a_file")

    def format_media(self, clip: Clip, root: Path) -> str:
        """Return the text of a clip as a table contains it."""
        return clip.media

    def read_duration_s(self, clip: Clip) -> float:
        """Raise an error, because a text has no duration.

        Raises:
            ClipError: With reason `no_duration`.
        """
        raise ClipError(f"{clip.row}: a text has no duration", "no_duration")

    def read(self, clip: Clip) -> SourceText:
        """Return the text of a clip, after checking that SignWriting can be parsed.

        Raises:
            ClipError: With reason `invalid_fsw` or `span_without_times`; the message begins with
                the clip's row.
        """
        check_has_no_span(clip)
        try:
            return make_source_text(clip.media, self.config)
        except ClipError as error:
            raise ClipError(f"{clip.row}: {error}", error.reason) from None


def make_source_text(text: str, config: TextTsvConfig | SignWritingTsvConfig) -> SourceText:
    """Make the media of a text, after checking that SignWriting can be parsed.

    Args:
        text: Text, or signs in FSW.
        config: Corpus that determines which of the two it is.

    Raises:
        ClipError: With reason `invalid_fsw`.
    """
    is_signwriting = isinstance(config, SignWritingTsvConfig)
    # Parsed here, although the feature step does it again: a check must find what is wrong.
    if is_signwriting:
        parse_fsw(text)
    return SourceText(text, is_signwriting)
