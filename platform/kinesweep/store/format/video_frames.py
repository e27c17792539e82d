"""Frames that a store does not hold: they are decoded from the videos whenever they are read.

The store knows the number of frames of a clip and the digest of their pixels. Where the videos lie
is recorded beside the store, because a corpus can be moved without a change of its content; every
extraction and every command that is given a recipe updates it. The digest is checked after decoding
(0.1 ms per frame of 224 pixels, beside milliseconds of decoding), so a batch has the pixels of the
extraction to the bit, or reading fails.

Shapes: T frames, D width.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from kinesweep.config.recipe.features.signer_crop import SignerCropConfig
from kinesweep.config.recipe.source import AnySource, SourceConfig
from kinesweep.core.errors import ClipError, StoreError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.video_files import VideoSegment
from kinesweep.features.frames import decode_frames
from kinesweep.sources import build_source
from kinesweep.sources.base import Source
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.writer import compute_features_digest, write_bytes_durably


@dataclass(frozen=True)
class VideoOrigin:
    """Where the frames of a store come from that are not stored.

    Attributes:
        source: Source of the corpus, with absolute paths.
        crop: Square around the signer that they are cropped to; None: the center square.
    """

    source: SourceConfig
    crop: SignerCropConfig | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert the origin to plain values: those of the source alone if there is no crop."""
        source = self.source.model_dump(mode="json")
        if self.crop is None:
            return source
        return {"source": source, "crop": self.crop.model_dump(mode="json")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "VideoOrigin":
        """Create the origin from the output of `to_json`."""
        source = TypeAdapter(AnySource).validate_python(values.get("source", values))
        crop = values.get("crop") if "source" in values else None
        return cls(source, None if crop is None else SignerCropConfig.model_validate(crop))


class VideoFrames:
    """A reader of the frames of clips whose pixels are not in their store.

    Args:
        folder: Folder of the store.
        schema: Schema of the store; all of its streams are decoded from videos.
    """

    def __init__(self, folder: Path, schema: StoreSchema) -> None:
        self._folder = folder
        self._schema = schema

    def read(self, record: ClipRecord) -> dict[str, NDArray[Any]]:
        """Decode the frames of a clip: stream → (T, D), uint8.

        Raises:
            StoreError: If the video is missing or cannot be decoded, or shows other frames than at
                the extraction.
        """
        try:
            segment = self._source.read(record.clip)
            assert isinstance(segment, VideoSegment)
            frames = {
                name: _decode_stream(segment, schema, self._origin.crop)
                for name, schema in self._schema.streams.items()
            }
        except ClipError as error:
            raise StoreError(
                f"the video of clip `{record.clip.id}` cannot be read any more: {error}. The store"
                f" `{self._folder}` holds no pixels (`features.storage: video`): restore the video;"
                " if the corpus was moved, run `kinesweep extract` with its new `source.root`; or"
                " set `features.storage: decoded`"
            ) from None
        if compute_features_digest(frames) != record.digest:
            raise StoreError(
                f"the video `{segment.path}` of clip `{record.clip.id}` shows other frames than"
                f" when the store `{self._folder}` was extracted: the file was changed, or is"
                " decoded by another version of FFmpeg or another kind of CPU. Restore the file or"
                " run `kinesweep extract` again, or set `features.storage: decoded`"
            )
        return frames

    @cached_property
    def _source(self) -> Source:
        """Return the source that locates the videos."""
        return build_source(self._origin.source)

    @cached_property
    def _origin(self) -> VideoOrigin:
        """Return where the frames come from.

        Raises:
            StoreError: If it is not recorded where they lie.
        """
        path = _get_source_path(self._folder)
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise StoreError(
                f"the store `{self._folder}` holds no pixels (`features.storage: video`), and"
                f" `{path.name}` beside it, which names its videos, is missing; run `kinesweep"
                " extract` with the recipe again"
            ) from None
        return VideoOrigin.from_json(values)


def record_video_origin(folder: Path, origin: VideoOrigin) -> None:
    """Record beside a store where its frames come from, unless the record exists already.

    Args:
        folder: Folder of the store.
        origin: Videos and crop, with absolute paths.
    """
    path = _get_source_path(folder)
    content = f"{json.dumps(origin.to_json(), indent=1)}\n".encode()
    # A store of somebody else may be read-only.
    if not path.is_file() or path.read_bytes() != content:
        write_bytes_durably(path, content)


def _decode_stream(
    segment: VideoSegment, schema: StreamSchema, crop: SignerCropConfig | None
) -> NDArray[np.uint8]:
    """Decode the frames of a stream of a clip, (T, D).

    Raises:
        ClipError: If the video cannot be decoded.
    """
    # All frames were resampled to one rate, so the schema has it.
    assert schema.frame_size is not None and schema.rate_hz is not None
    return decode_frames(segment, schema.frame_size, schema.rate_hz, crop)


def _get_source_path(folder: Path) -> Path:
    """Return the path of the recorded source: that of the store, followed by `.videos.json`."""
    # Beside the store rather than in it: a finished store is immutable.
    return folder.with_name(f"{folder.name}.videos.json")
