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

from kinesweep.config.recipe.h5_shards import H5ShardsConfig, ShardStreamConfig, token_of
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.sources.base import GivenFeatures, GivenStreams, MediaDigest
from kinesweep.sources.precomputed.annotation import Annotation
from kinesweep.sources.precomputed.h5_files import ShardFiles
from kinesweep.sources.precomputed.shard_index import ShardMap, read_map
from kinesweep.sources.tsv.base_table_source import TableSource
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import TableError

Widths = dict[str, int]
"""Stream name → feature width D of a clip."""


class H5ShardsSource(TableSource):
    """A source of feature streams in HDF5 shards (`h5_shards`).

    Args:
        config: Annotation files and streams; relative paths are resolved against the current
            folder at construction.
    """

    where_root: ClassVar[str] = "correct the `folder` of the stream, or set `source.root`"
    unique: ClassVar[str] = "use each clip of a video only once in a corpus"

    def __init__(self, config: H5ShardsConfig) -> None:
        super().__init__(config)
        self.config = config
        self._root = Path(config.root).absolute() if config.root is not None else None
        self._files = ShardFiles()
        self._maps: dict[tuple[str, str], tuple[ShardMap, list[TableError]]] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, object]:
        # Workers parse the metadata on demand instead of receiving it with every pickle.
        return {**super().__getstate__(), "_maps": {}, "_places": {}}

    def root(self, split: str) -> Path:
        """Return the absolute path of the folder that contains the stream folders."""
        return self._root or self._tables[split].parent

    def read_options(self) -> dict[str, Any]:
        """Return the feature rates, which the shards do not store."""
        rates_hz = {stream.name: stream.fps for stream in self.config.streams}
        return {"source": self.config.kind, "rates_hz": rates_hz}

    def place(self, row: str) -> tuple[int, int]:
        """Return a sort key: index of the clip's annotation file and position in that file."""
        return self._places[row]

    def read_rows(self, split: str, path: Path) -> ParsedRows:
        """Read a split's annotation; the `media` of a clip is its shard of the first stream."""
        rows = Annotation(path, self.table_name(split), split, self.config.ignore_keys).read()
        # Rows of JSON files have no line numbers, so `place` looks their positions up here.
        number = list(self._tables).index(split)
        self._places |= {row: (number, line) for row, line in rows.lines.items()}
        maps = {stream.name: self._map(stream, split) for stream in self.config.streams}
        rows.faults += [fault for _, faults in maps.values() for fault in faults]
        clips, rows.clips = rows.clips, []
        for clip in clips:
            lacking = [known for known, _ in maps.values() if clip.document not in known.shards]
            if lacking:  # one missing stream makes the clip unusable
                rows.problems.append(_without_features(clip, lacking))
            else:
                first, _ = maps[self.config.names[0]]
                rows.clips.append(replace(clip, media=first.media(clip.document)))
        return rows

    def auxiliary_files(self, clip: Clip) -> tuple[Path, ...]:
        """Return the shards of all streams but the first.

        Raises:
            ClipError: With reason `missing_file`, or `missing_features` if a video has no shard.
        """
        paths = [self._shard(stream, clip) for stream in self.config.streams[1:]]
        for path in paths:
            if not path.is_file():
                raise ClipError(f"{clip.row}: `{path}` does not exist", "missing_file")
        return tuple(paths)

    def read(self, clip: Clip) -> GivenStreams:
        """Read all streams of a clip as float32.

        Raises:
            ClipError: See `ShardFiles.read`; also with reason `wrong_width`. The message begins
                with the clip's row.
        """
        return {one.name: _given(self._read(one, clip), one) for one in self.config.streams}

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, MediaDigest | ClipError]:
        """Return the digest of each clip's own data in all its streams, or its error.

        Every byte of the features is read and hashed, shard by shard, in this process. A clip of
        three streams with 0.5 MB takes 2.4 ms of one core, so the 31,000 clips of How2Sign take
        75 s from the page cache at each extraction. The expected width of a stream is the one in
        `source.streams`, or else the width that most clips have.
        """
        return self._examined(clips, None)

    def _examined(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None
    ) -> dict[Clip, MediaDigest | ClipError]:
        """Compute the result of `contents` and report progress."""
        found: dict[Clip, MediaDigest | ClipError] = {}
        widths: dict[Clip, Widths] = {}
        # Sorted by shard, so that the clips of a shard are read while it is open.
        for number, clip in enumerate(sorted(clips, key=lambda clip: (clip.split, clip.media)), 1):
            try:
                found[clip], widths[clip] = self._content(clip)
            except ClipError as error:
                found[clip] = error
            if progress is not None:
                progress(number, len(clips))
        self._files.close()
        # The right operand wins: a readable clip with an unusual width becomes an error.
        return found | _odd(widths)

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[InvalidRow]:
        """Read every clip; return `problems()` and the problems found, in the order of the clips.

        Raises:
            SourceError: If annotations or metadata are malformed; all errors at once.
        """
        clips = self._read_tables().clips
        bad = [
            InvalidRow(clip.row, clip.id, content.reason, str(content), clip.split)
            for clip, content in self._examined(clips, progress).items()
            if isinstance(content, ClipError)
        ]
        return sorted([*self.problems(), *bad], key=lambda problem: self.place(problem.row))

    def _content(self, clip: Clip) -> tuple[MediaDigest, Widths]:
        """Hash the streams of a clip and return the digest with the stream widths."""
        digest, num_bytes, widths = hashlib.sha256(), 0, Widths()
        for stream in self.config.streams:
            x_TD = np.ascontiguousarray(self._read(stream, clip))
            if not np.isfinite(x_TD).all():
                text = f"{clip.row}: stream `{stream.name}`: NaN or infinite features"
                raise ClipError(text, "nan_features")
            # Name, type and shape are hashed too: equal bytes may stand for different features.
            digest.update(f"{stream.name} {x_TD.dtype.str} {x_TD.shape};".encode())
            digest.update(x_TD.data)
            num_bytes += x_TD.nbytes
            widths[stream.name] = x_TD.shape[1]
        return MediaDigest(digest.hexdigest(), num_bytes), widths

    def _read(self, stream: ShardStreamConfig, clip: Clip) -> NDArray[np.floating]:
        """Read one stream of a clip in its stored type, (T, D).

        Raises:
            ClipError: See `read`.
        """
        try:
            # An id is `video/clip`, in a combined source after the corpus name.
            name = clip.id.rpartition("/")[2]
            x_TD = self._files.read(self._shard(stream, clip), clip.document, name)
            if stream.width not in (None, x_TD.shape[1]):
                text = f"features are {x_TD.shape[1]} wide, but the recipe says {stream.width}"
                raise ClipError(text, "wrong_width")
        except ClipError as error:
            text = f"{clip.row}: stream `{stream.name}`: {error}"
            raise ClipError(text, error.reason) from None
        return x_TD

    def _shard(self, stream: ShardStreamConfig, clip: Clip) -> Path:
        """Return the path of the shard with a clip's features.

        Raises:
            ClipError: With reason `missing_features`.
        """
        known, _ = self._map(stream, clip.split)
        if clip.document not in known.shards:
            raise ClipError(f"`{clip.document}` is not in `{known.path}`", "missing_features")
        return self.root(clip.split) / known.media(clip.document)

    def _map(self, stream: ShardStreamConfig, split: str) -> tuple[ShardMap, list[TableError]]:
        """Return a stream's map from videos to shards; it is read once per process."""
        key = (stream.name, split)
        if key not in self._maps:
            token = token_of(str(self._tables[split]))
            self._maps[key] = read_map(self.root(split), stream.name, stream.place, token)
        return self._maps[key]


def read_streams(path: Path, config: H5ShardsConfig) -> GivenStreams:
    """Read a file of a single clip, with one data set (T, D) per stream, named after the stream.

    Args:
        path: Path of the HDF5 file.
        config: Source configuration with the streams and their rates.

    Raises:
        ClipError: See `ShardFiles.read`; the message names the file.
    """
    files = ShardFiles()
    try:
        return {one.name: _given(files.read(path, one.name), one) for one in config.streams}
    finally:
        files.close()


def write_streams(path: Path, streams: GivenStreams) -> Path:
    """Write a file of a single clip that `read_streams` can read, and return its path."""
    with h5py.File(path, "w") as file:
        for name, given in streams.items():
            file[name] = given.x_TD
    return path


def _given(x_TD: NDArray[np.floating], stream: ShardStreamConfig) -> GivenFeatures:
    """Convert stored features to float32 and add the rate of their stream."""
    return GivenFeatures(np.ascontiguousarray(x_TD, np.float32), stream.fps)


def _without_features(clip: Clip, lacking: Sequence[ShardMap]) -> InvalidRow:
    """Return the problem of a clip whose video is missing from some streams."""
    named = ", ".join(f"stream `{known.stream}`: not in `{known.path}`" for known in lacking)
    text = f"video `{clip.document}` has no features in {named}"
    return InvalidRow(clip.row, clip.id, "missing_features", text, clip.split)


def _odd(widths: dict[Clip, Widths]) -> dict[Clip, MediaDigest | ClipError]:
    """Return an error for each clip whose stream width differs from that of most clips."""
    counts: dict[str, Counter[int]] = {}
    for own in widths.values():
        for stream, width in own.items():
            counts.setdefault(stream, Counter())[width] += 1
    # Of equally frequent widths the first one counts as usual.
    usual = {stream: count.most_common(1)[0][0] for stream, count in counts.items()}
    found: dict[Clip, MediaDigest | ClipError] = {}
    for clip, own in widths.items():
        texts = [
            f"`{stream}` is {width} wide, but {usual[stream]} in most clips"
            for stream, width in own.items()
            if width != usual[stream]
        ]
        if texts:
            found[clip] = ClipError(f"{clip.row}: {'; '.join(texts)}", "wrong_width")
    return found
