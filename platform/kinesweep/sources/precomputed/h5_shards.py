"""Several streams of precomputed features in HDF5 shards, in Sign_LLaVA's layout.

Each split has one annotation file. The folder of a stream contains
`metadata_{prefix}.{token}.json` (video → shard) and the shards `{prefix}.{token}.{shard}.h5`, with
one group per video and one data set per clip, float16 (T, D). The prefix is the stream's name or,
as in the published tree, `dino` for all streams; the token is that of `annotation.{token}.json`.
The streams of a clip may differ in length and rate.

A shard holds thousands of clips. The content digest of a clip therefore covers only its own data
sets, so that adding a clip to a shard does not invalidate the extracted features of the others.
Shapes: T frames, D width.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.h5_shards import H5ShardsConfig, ShardStreamConfig, parse_split_token
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import MediaDigest, PrecomputedStreams
from kinesweep.sources.frame_range import check_has_no_span
from kinesweep.sources.precomputed.annotation import AnnotationReader
from kinesweep.sources.precomputed.clip_h5_file import convert_features
from kinesweep.sources.precomputed.h5_files import ShardFilePool
from kinesweep.sources.precomputed.shard_index import ShardMap, read_shard_map
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import TableError

StreamWidths = dict[str, int]
"""Stream name → feature width D of a clip."""


class H5ShardsSource(TableSource):
    """A source of feature streams in HDF5 shards (`h5_shards`).

    Args:
        config: Annotation files and streams; relative paths are resolved against the current
            folder at construction.
    """

    outside_root_advice: ClassVar[str] = "correct the `folder` of the stream, or set `source.root`"
    duplicate_id_advice: ClassVar[str] = "use each clip of a video only once in a corpus"

    def __init__(self, config: H5ShardsConfig) -> None:
        super().__init__(config)
        self.config = config
        self._root = Path(config.root).absolute() if config.root is not None else None
        self._files = ShardFilePool()
        self._maps: dict[tuple[str, str], tuple[ShardMap, list[TableError]]] = {}
        self._row_positions: dict[str, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, object]:
        # Workers parse the metadata on demand instead of receiving it with every pickle.
        return {**super().__getstate__(), "_maps": {}, "_row_positions": {}}

    def get_root(self, split: str) -> Path:
        """Return the absolute path of the folder that contains the stream folders."""
        return self._root or self._tables[split].parent

    def get_read_options(self) -> dict[str, Any]:
        """Return the kind of the source and the feature rate of each stream in Hz.

        The shards do not store the rates.
        """
        rates_hz = {stream.name: stream.fps for stream in self.config.streams}
        return {"source": self.config.kind, "rates_hz": rates_hz}

    def get_row_position(self, row: str) -> tuple[int, int]:
        """Return the index of a row's annotation file and the row's position in it.

        Rows are sorted by this pair. The rows must have been read.

        Args:
            row: Location of the row, for example `annotation.train.json:video/clip`.
        """
        return self._row_positions[row]

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's annotation file, and return its clips, invalid rows and errors.

        The `media` of a clip is the path of its shard of the first stream. A clip whose video has
        no shard in some stream is an invalid row.
        """
        rows = AnnotationReader(
            path, self.get_table_name(split), split, self.config.ignore_keys
        ).read()
        # Rows of JSON files have no line numbers; `get_row_position` looks up positions here.
        table_index = list(self._tables).index(split)
        self._row_positions |= {
            row: (table_index, position) for row, position in rows.row_positions.items()
        }
        maps = {stream.name: self._load_shard_map(stream, split) for stream in self.config.streams}
        rows.errors += [error for _, errors in maps.values() for error in errors]
        annotated_clips, rows.clips = rows.clips, []
        for clip in annotated_clips:
            maps_without_video = [
                shard_map for shard_map, _ in maps.values() if clip.document not in shard_map.shards
            ]
            if maps_without_video:  # one missing stream makes the clip unusable
                rows.invalid_rows.append(_make_missing_features_row(clip, maps_without_video))
            else:
                first_map, _ = maps[self.config.stream_names[0]]
                rows.clips.append(replace(clip, media=first_map.get_shard_path(clip.document)))
        return rows

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the paths of a clip's shards for all streams but the first (that is `media`).

        Raises:
            ClipError: With reason `missing_file`, or `missing_features` if a video has no shard.
        """
        paths = [self._resolve_shard_path(stream, clip) for stream in self.config.streams[1:]]
        for path in paths:
            if not path.is_file():
                raise ClipError(f"{clip.row}: `{path}` does not exist", "missing_file")
        return tuple(paths)

    def read(self, clip: Clip) -> PrecomputedStreams:
        """Read the features of a clip in all streams as float32, by stream name.

        Raises:
            ClipError: With the reasons of `ShardFilePool.read`, `missing_features`, `wrong_width`
                or `span_without_times`. The message begins with the clip's row.
        """
        check_has_no_span(clip)
        return {
            stream.name: convert_features(self._read_stream(stream, clip), stream)
            for stream in self.config.streams
        }

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip's own data in all its streams, or its error if unusable.

        Every byte of the features is read and hashed, shard by shard, in this process. A clip of
        three streams with 0.5 MB takes 2.4 ms of one core, so the 31,000 clips of How2Sign take
        75 s from the page cache at each extraction. The expected width of a stream is the one in
        `source.streams`, or else the width that most clips have.
        """
        return self._digest_clips(clips, None)

    def _digest_clips(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None
    ) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip's own data, or its error if it is unusable.

        Args:
            clips: Clips from any split.
            progress: Function to call after each clip with the number of clips done and the number
                of all clips, or None.
        """
        digests: dict[Clip, MediaDigest | ClipError] = {}
        widths: dict[Clip, StreamWidths] = {}
        # Sorted by shard, so that the clips of a shard are read while it is open.
        sorted_clips = sorted(clips, key=lambda clip: (clip.split, clip.media))
        for num_done, clip in enumerate(sorted_clips, 1):
            try:
                digests[clip], widths[clip] = self._compute_clip_digest(clip)
            except ClipError as error:
                digests[clip] = error
            if progress is not None:
                progress(num_done, len(clips))
        self._files.close()
        # The right operand wins: a readable clip with an unusual width becomes an error.
        return digests | _find_unusual_widths(widths)

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Read every clip of all splits and return all invalid rows, in annotation order.

        Args:
            progress: Function to call after each clip with the number of clips that were checked
                and the number of all clips.

        Raises:
            SourceError: If annotations or metadata are malformed; the message contains all errors.
        """
        clips = self._get_rows().clips
        invalid_rows = [
            InvalidRow(clip.row, clip.id, digest.reason, str(digest), clip.split)
            for clip, digest in self._digest_clips(clips, progress).items()
            if isinstance(digest, ClipError)
        ]
        return sorted(
            [*self.list_invalid_rows(), *invalid_rows],
            key=lambda invalid_row: self.get_row_position(invalid_row.row),
        )

    def _compute_clip_digest(self, clip: Clip) -> tuple[MediaDigest, StreamWidths]:
        """Compute the digest of a clip's data in all its streams, and the width of each stream.

        Raises:
            ClipError: With the reasons of `read` or `nan_features`; the message begins with the
                clip's row.
        """
        digest, num_bytes, widths = hashlib.sha256(), 0, StreamWidths()
        for stream in self.config.streams:
            x_TD = np.ascontiguousarray(self._read_stream(stream, clip))
            if not np.isfinite(x_TD).all():
                text = f"{clip.row}: stream `{stream.name}`: NaN or infinite features"
                raise ClipError(text, "nan_features")
            # Name, type and shape are hashed too: equal bytes may stand for different features.
            digest.update(f"{stream.name} {x_TD.dtype.str} {x_TD.shape};".encode())
            digest.update(x_TD.data)
            num_bytes += x_TD.nbytes
            widths[stream.name] = x_TD.shape[1]
        return MediaDigest(digest.hexdigest(), num_bytes), widths

    def _read_stream(self, stream: ShardStreamConfig, clip: Clip) -> NDArray[np.floating]:
        """Read the features of a clip in one stream in their stored type, (T, D).

        Raises:
            ClipError: With the reasons of `read`; the message begins with the clip's row.
        """
        try:
            # An id is `video/clip`, in a combined source after the corpus name.
            clip_name = clip.id.rpartition("/")[2]
            path = self._resolve_shard_path(stream, clip)
            x_TD = self._files.read(path, clip.document, clip_name)
            if stream.width not in (None, x_TD.shape[1]):
                text = f"features are {x_TD.shape[1]} wide, but the recipe says {stream.width}"
                raise ClipError(text, "wrong_width")
        except ClipError as error:
            text = f"{clip.row}: stream `{stream.name}`: {error}"
            raise ClipError(text, error.reason) from None
        return x_TD

    def _resolve_shard_path(self, stream: ShardStreamConfig, clip: Clip) -> Path:
        """Return the absolute path of the shard that contains a clip's features in a stream.

        Raises:
            ClipError: With reason `missing_features`, if the clip's video has no shard.
        """
        shard_map, _ = self._load_shard_map(stream, clip.split)
        if clip.document not in shard_map.shards:
            raise ClipError(f"`{clip.document}` is not in `{shard_map.path}`", "missing_features")
        return self.get_root(clip.split) / shard_map.get_shard_path(clip.document)

    def _load_shard_map(
        self, stream: ShardStreamConfig, split: str
    ) -> tuple[ShardMap, list[TableError]]:
        """Return a stream's map from videos to shards for a split, and the errors in its file.

        Each map is read once per process.
        """
        key = (stream.name, split)
        if key not in self._maps:
            token = parse_split_token(str(self._tables[split]))
            self._maps[key] = read_shard_map(
                self.get_root(split), stream.name, stream.subfolder, token
            )
        return self._maps[key]


def _make_missing_features_row(clip: Clip, maps_without_video: Sequence[ShardMap]) -> InvalidRow:
    """Build the invalid row of a clip whose video has no shard in some streams.

    Args:
        clip: Clip of the video.
        maps_without_video: Shard maps of these streams.
    """
    missing_streams = ", ".join(
        f"stream `{shard_map.stream}`: not in `{shard_map.path}`"
        for shard_map in maps_without_video
    )
    text = f"video `{clip.document}` has no features in {missing_streams}"
    return InvalidRow(clip.row, clip.id, "missing_features", text, clip.split)


def _find_unusual_widths(widths: dict[Clip, StreamWidths]) -> dict[Clip, MediaDigest | ClipError]:
    """Return an error for each clip with a stream whose width differs from that in most clips.

    Args:
        widths: Width of each stream by clip.
    """
    counts: dict[str, Counter[int]] = {}
    for clip_widths in widths.values():
        for stream, width in clip_widths.items():
            counts.setdefault(stream, Counter())[width] += 1
    # Of equally frequent widths the first one counts as usual.
    usual_widths = {
        stream: width_counts.most_common(1)[0][0] for stream, width_counts in counts.items()
    }
    errors: dict[Clip, MediaDigest | ClipError] = {}
    for clip, clip_widths in widths.items():
        texts = [
            f"`{stream}` is {width} wide, but {usual_widths[stream]} in most clips"
            for stream, width in clip_widths.items()
            if width != usual_widths[stream]
        ]
        if texts:
            errors[clip] = ClipError(f"{clip.row}: {'; '.join(texts)}", "wrong_width")
    return errors
