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

import h5py
import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.h5_shards import H5ShardsConfig, ShardStreamConfig, parse_split_token
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import MediaDigest, PrecomputedFeatures, PrecomputedStreams
from kinesweep.sources.precomputed.annotation import AnnotationReader
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
        """Return the feature rates, which the shards do not store."""
        rates_hz = {stream.name: stream.fps for stream in self.config.streams}
        return {"source": self.config.kind, "rates_hz": rates_hz}

    def get_row_position(self, row: str) -> tuple[int, int]:
        """Return the position of a row as a sort key: index of its file, then position in it."""
        return self._row_positions[row]

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's annotation; the `media` of a clip is its shard of the first stream."""
        rows = AnnotationReader(
            path, self.get_table_name(split), split, self.config.ignore_keys
        ).read()
        # Rows of JSON files have no line numbers; `get_row_position` looks up positions here.
        table_index = list(self._tables).index(split)
        self._row_positions |= {
            row: (table_index, line) for row, line in rows.row_positions.items()
        }
        maps = {stream.name: self._load_shard_map(stream, split) for stream in self.config.streams}
        rows.errors += [fault for _, faults in maps.values() for fault in faults]
        clips, rows.clips = rows.clips, []
        for clip in clips:
            missing_maps = [
                shard_map for shard_map, _ in maps.values() if clip.document not in shard_map.shards
            ]
            if missing_maps:  # one missing stream makes the clip unusable
                rows.problems.append(_make_missing_features_row(clip, missing_maps))
            else:
                first_map, _ = maps[self.config.stream_names[0]]
                rows.clips.append(replace(clip, media=first_map.get_shard_path(clip.document)))
        return rows

    def list_auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the shards of all streams but the first.

        Raises:
            ClipError: With reason `missing_file`, or `missing_features` if a video has no shard.
        """
        paths = [self._resolve_shard_path(stream, clip) for stream in self.config.streams[1:]]
        for path in paths:
            if not path.is_file():
                raise ClipError(f"{clip.row}: `{path}` does not exist", "missing_file")
        return tuple(paths)

    def read(self, clip: Clip) -> PrecomputedStreams:
        """Read all streams of a clip as float32.

        Raises:
            ClipError: See `ShardFilePool.read`; also with reason `wrong_width`. The message begins
                with the clip's row.
        """
        return {
            stream.name: _make_features(self._read_stream(stream, clip), stream)
            for stream in self.config.streams
        }

    def compute_digests(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip's own data in all its streams, or its error.

        Every byte of the features is read and hashed, shard by shard, in this process. A clip of
        three streams with 0.5 MB takes 2.4 ms of one core, so the 31,000 clips of How2Sign take
        75 s from the page cache at each extraction. The expected width of a stream is the one in
        `source.streams`, or else the width that most clips have.
        """
        return self._digest_clips(clips, None)

    def _digest_clips(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None
    ) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the digest of each clip, or its error, and report progress."""
        digests: dict[Clip, MediaDigest | ClipError] = {}
        widths: dict[Clip, StreamWidths] = {}
        # Sorted by shard, so that the clips of a shard are read while it is open.
        for number, clip in enumerate(sorted(clips, key=lambda clip: (clip.split, clip.media)), 1):
            try:
                digests[clip], widths[clip] = self._compute_clip_digest(clip)
            except ClipError as error:
                digests[clip] = error
            if progress is not None:
                progress(number, len(clips))
        self._files.close()
        # The right operand wins: a readable clip with an unusual width becomes an error.
        return digests | _find_unusual_widths(widths)

    def check_clips(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Read every clip and return all invalid rows, in the order of the clips.

        Raises:
            SourceError: If annotations or metadata are malformed; all errors at once.
        """
        clips = self._get_rows().clips
        invalid_rows = [
            InvalidRow(clip.row, clip.id, content.reason, str(content), clip.split)
            for clip, content in self._digest_clips(clips, progress).items()
            if isinstance(content, ClipError)
        ]
        return sorted(
            [*self.list_invalid_rows(), *invalid_rows],
            key=lambda problem: self.get_row_position(problem.row),
        )

    def _compute_clip_digest(self, clip: Clip) -> tuple[MediaDigest, StreamWidths]:
        """Hash the streams of a clip and return the digest with the stream widths."""
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
        """Read one stream of a clip in its stored type, (T, D).

        Raises:
            ClipError: See `read`.
        """
        try:
            # An id is `video/clip`, in a combined source after the corpus name.
            name = clip.id.rpartition("/")[2]
            x_TD = self._files.read(self._resolve_shard_path(stream, clip), clip.document, name)
            if stream.width not in (None, x_TD.shape[1]):
                text = f"features are {x_TD.shape[1]} wide, but the recipe says {stream.width}"
                raise ClipError(text, "wrong_width")
        except ClipError as error:
            text = f"{clip.row}: stream `{stream.name}`: {error}"
            raise ClipError(text, error.reason) from None
        return x_TD

    def _resolve_shard_path(self, stream: ShardStreamConfig, clip: Clip) -> Path:
        """Return the path of the shard with a clip's features.

        Raises:
            ClipError: With reason `missing_features`.
        """
        shard_map, _ = self._load_shard_map(stream, clip.split)
        if clip.document not in shard_map.shards:
            raise ClipError(f"`{clip.document}` is not in `{shard_map.path}`", "missing_features")
        return self.get_root(clip.split) / shard_map.get_shard_path(clip.document)

    def _load_shard_map(
        self, stream: ShardStreamConfig, split: str
    ) -> tuple[ShardMap, list[TableError]]:
        """Return a stream's map from videos to shards, which is read once per process."""
        key = (stream.name, split)
        if key not in self._maps:
            token = parse_split_token(str(self._tables[split]))
            self._maps[key] = read_shard_map(
                self.get_root(split), stream.name, stream.subfolder, token
            )
        return self._maps[key]


def read_streams(path: Path, config: H5ShardsConfig) -> PrecomputedStreams:
    """Read a file of a single clip, with one data set (T, D) per stream, named after the stream.

    Args:
        path: Path of the HDF5 file.
        config: Source configuration with the streams and their rates.

    Raises:
        ClipError: See `ShardFilePool.read`; the message names the file.
    """
    files = ShardFilePool()
    try:
        return {
            stream.name: _make_features(files.read(path, stream.name), stream)
            for stream in config.streams
        }
    finally:
        files.close()


def write_streams(path: Path, streams: PrecomputedStreams) -> Path:
    """Write a file of a single clip that `read_streams` can read, and return its path."""
    with h5py.File(path, "w") as file:
        for name, features in streams.items():
            file[name] = features.x_TD
    return path


def _make_features(x_TD: NDArray[np.floating], stream: ShardStreamConfig) -> PrecomputedFeatures:
    """Convert stored features to float32 and add the rate of their stream."""
    return PrecomputedFeatures(np.ascontiguousarray(x_TD, np.float32), stream.fps)


def _make_missing_features_row(clip: Clip, missing_maps: Sequence[ShardMap]) -> InvalidRow:
    """Build the invalid row of a clip whose video is missing from some streams."""
    missing_streams = ", ".join(
        f"stream `{shard_map.stream}`: not in `{shard_map.path}`" for shard_map in missing_maps
    )
    text = f"video `{clip.document}` has no features in {missing_streams}"
    return InvalidRow(clip.row, clip.id, "missing_features", text, clip.split)


def _find_unusual_widths(widths: dict[Clip, StreamWidths]) -> dict[Clip, MediaDigest | ClipError]:
    """Find clips with a stream width that differs from most clips; return an error for each."""
    counts: dict[str, Counter[int]] = {}
    for clip_widths in widths.values():
        for stream, width in clip_widths.items():
            counts.setdefault(stream, Counter())[width] += 1
    # Of equally frequent widths the first one counts as usual.
    common_widths = {stream: count.most_common(1)[0][0] for stream, count in counts.items()}
    errors: dict[Clip, MediaDigest | ClipError] = {}
    for clip, clip_widths in widths.items():
        texts = [
            f"`{stream}` is {width} wide, but {common_widths[stream]} in most clips"
            for stream, width in clip_widths.items()
            if width != common_widths[stream]
        ]
        if texts:
            errors[clip] = ClipError(f"{clip.row}: {'; '.join(texts)}", "wrong_width")
    return errors
