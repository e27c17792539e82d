"""Several streams of features in HDF5 shards, in Sign_LLaVA's layout: an annotation a split.

Below the folder of a stream lie `metadata_{prefix}.{token}.json`, video → shard, and the shards,
`{prefix}.{token}.{shard}.h5`, with a group a video and a data set a clip, float16 (T, D). The
prefix is the stream's name or, as in the published tree, `dino` for all; the token is that of
`annotation.{token}.json`. Streams of a clip may differ in length and rate. A shard holds thousands
of clips, so a clip's content is its own part of each shard, never the file: a shard with one new
clip leaves all others extracted. Shapes: T frames, D width.
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

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.errors import ClipError
from kinesweep.core.recipe.shards import H5ShardsConfig, ShardStreamConfig, token_of
from kinesweep.sources.annotation import Annotation
from kinesweep.sources.contract import Content, GivenFeatures, GivenStreams
from kinesweep.sources.rows import Rows
from kinesweep.sources.shard_files import ShardFiles
from kinesweep.sources.shard_map import ShardMap, read_map
from kinesweep.sources.table import Fault
from kinesweep.sources.table_source import TableSource

Widths = dict[str, int]
"""Stream → D of a clip."""


class H5ShardsSource(TableSource):
    """The source `h5_shards`.

    Args:
        config: which annotations and streams; relative paths are of the current folder, now.
    """

    where_root: ClassVar[str] = "mend the `folder` of the stream, or set `source.root`"
    unique: ClassVar[str] = "a corpus has each clip of a video once"

    def __init__(self, config: H5ShardsConfig) -> None:
        super().__init__(config)
        self.config = config
        self._root = Path(config.root).absolute() if config.root is not None else None
        self._files = ShardFiles()
        self._maps: dict[tuple[str, str], tuple[ShardMap, list[Fault]]] = {}
        self._places: dict[str, tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_maps": {}, "_places": {}}

    def root(self, split: str) -> Path:
        """The folder of the streams' folders, absolute."""
        return self._root or self._tables[split].parent

    def reading(self) -> dict[str, Any]:
        """The rates, which no shard tells."""
        rates_hz = {stream.name: stream.fps for stream in self.config.streams}
        return {"source": self.config.kind, "rates_hz": rates_hz}

    def place(self, row: str) -> tuple[int, int]:
        """Where a clip stands, for sorting: number of its annotation, and place in there."""
        return self._places[row]

    def read_rows(self, split: str, path: Path) -> Rows:
        """One split's annotation as rows, each with the shard of the first stream."""
        rows = Annotation(path, self.table_name(split), split, self.config.ignore_keys).read()
        number = list(self._tables).index(split)
        self._places |= {row: (number, line) for row, line in rows.lines.items()}
        maps = {stream.name: self._map(stream, split) for stream in self.config.streams}
        rows.faults += [fault for _, faults in maps.values() for fault in faults]
        clips, rows.clips = rows.clips, []
        for clip in clips:
            lacking = [known for known, _ in maps.values() if clip.document not in known.shards]
            if lacking:
                rows.problems.append(_without_features(clip, lacking))
            else:
                first, _ = maps[self.config.names[0]]
                rows.clips.append(replace(clip, media=first.media(clip.document)))
        return rows

    def companions(self, clip: Clip) -> tuple[Path, ...]:
        """The shards of the other streams.

        Raises:
            ClipError: reason `missing_file`, or `missing_features` where a video has no shard.
        """
        paths = [self._shard(stream, clip) for stream in self.config.streams[1:]]
        for path in paths:
            if not path.is_file():
                raise ClipError(f"{clip.row}: `{path}` does not exist", "missing_file")
        return tuple(paths)

    def read(self, clip: Clip) -> GivenStreams:
        """All streams of a clip, float32.

        Raises:
            ClipError: as `ShardFiles.read`, or reason `wrong_width`; the message begins with the
                clip's row.
        """
        return {one.name: _given(self._read(one, clip), one) for one in self.config.streams}

    def contents(self, clips: Sequence[Clip]) -> dict[Clip, Content | ClipError]:
        """Hash of each clip's own data in all its streams, or why it cannot be used.

        Every byte of the features is read and hashed, shard by shard, in this process: 2.4 ms of
        one core for a clip of three streams with 0.5 MB, so 75 s for the 31,000 of How2Sign from
        the page cache, at each extraction. Widths are those of `source.streams`, else of most
        clips.
        """
        return self._examined(clips, None)

    def _examined(
        self, clips: Sequence[Clip], progress: Callable[[int, int], None] | None
    ) -> dict[Clip, Content | ClipError]:
        """`contents`, with progress."""
        found: dict[Clip, Content | ClipError] = {}
        widths: dict[Clip, Widths] = {}
        for number, clip in enumerate(sorted(clips, key=lambda clip: (clip.split, clip.media)), 1):
            try:
                found[clip], widths[clip] = self._content(clip)
            except ClipError as error:
                found[clip] = error
            if progress is not None:
                progress(number, len(clips))
        self._files.close()
        return found | _odd(widths)

    def check(self, progress: Callable[[int, int], None] | None = None) -> list[RowProblem]:
        """Reads every clip; `problems()` and what that brings to light, in the clips' order.

        Raises:
            SourceError: faults of annotations and metadata, all at once.
        """
        clips = self._read_tables().clips
        bad = [
            RowProblem(clip.row, clip.id, content.reason, str(content), clip.split)
            for clip, content in self._examined(clips, progress).items()
            if isinstance(content, ClipError)
        ]
        return sorted([*self.problems(), *bad], key=lambda problem: self.place(problem.row))

    def _content(self, clip: Clip) -> tuple[Content, Widths]:
        digest, num_bytes, widths = hashlib.sha256(), 0, Widths()
        for stream in self.config.streams:
            x_TD = np.ascontiguousarray(self._read(stream, clip))
            if not np.isfinite(x_TD).all():
                text = f"{clip.row}: stream `{stream.name}`: NaN or infinite features"
                raise ClipError(text, "nan_features")
            digest.update(f"{stream.name} {x_TD.dtype.str} {x_TD.shape};".encode())
            digest.update(x_TD.data)
            num_bytes += x_TD.nbytes
            widths[stream.name] = x_TD.shape[1]
        return Content(digest.hexdigest(), num_bytes), widths

    def _read(self, stream: ShardStreamConfig, clip: Clip) -> NDArray[np.floating]:
        """A stream of a clip as it is stored.

        Raises:
            ClipError: see `read`.
        """
        try:
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
        """Where a clip's features lie.

        Raises:
            ClipError: reason `missing_features`.
        """
        known, _ = self._map(stream, clip.split)
        if clip.document not in known.shards:
            raise ClipError(f"`{clip.document}` is not in `{known.path}`", "missing_features")
        return self.root(clip.split) / known.media(clip.document)

    def _map(self, stream: ShardStreamConfig, split: str) -> tuple[ShardMap, list[Fault]]:
        """Video → shard of a stream; read once a process."""
        key = (stream.name, split)
        if key not in self._maps:
            token = token_of(str(self._tables[split]))
            self._maps[key] = read_map(self.root(split), stream.name, stream.place, token)
        return self._maps[key]


def read_streams(path: Path, config: H5ShardsConfig) -> GivenStreams:
    """A file of one clip alone: a data set (T, D) for each stream, which is its name.

    Args:
        path: the file.
        config: whose streams, and their rates.

    Raises:
        ClipError: as `ShardFiles.read`; the file is named.
    """
    files = ShardFiles()
    try:
        return {one.name: _given(files.read(path, one.name), one) for one in config.streams}
    finally:
        files.close()


def write_streams(path: Path, streams: GivenStreams) -> Path:
    """Writes a file of one clip alone, which `read_streams` reads. Returns its path."""
    with h5py.File(path, "w") as file:
        for name, given in streams.items():
            file[name] = given.x_TD
    return path


def _given(x_TD: NDArray[np.floating], stream: ShardStreamConfig) -> GivenFeatures:
    return GivenFeatures(np.ascontiguousarray(x_TD, np.float32), stream.fps)


def _without_features(clip: Clip, lacking: Sequence[ShardMap]) -> RowProblem:
    """A clip whose video some stream does not have."""
    named = ", ".join(f"stream `{known.stream}`: not in `{known.path}`" for known in lacking)
    text = f"video `{clip.document}` has no features in {named}"
    return RowProblem(clip.row, clip.id, "missing_features", text, clip.split)


def _odd(widths: dict[Clip, Widths]) -> dict[Clip, Content | ClipError]:
    """The clips that are not as wide as most are, each as an error."""
    counts: dict[str, Counter[int]] = {}
    for own in widths.values():
        for stream, width in own.items():
            counts.setdefault(stream, Counter())[width] += 1
    usual = {stream: count.most_common(1)[0][0] for stream, count in counts.items()}
    found: dict[Clip, Content | ClipError] = {}
    for clip, own in widths.items():
        texts = [
            f"`{stream}` is {width} wide, but {usual[stream]} in most clips"
            for stream, width in own.items()
            if width != usual[stream]
        ]
        if texts:
            found[clip] = ClipError(f"{clip.row}: {'; '.join(texts)}", "wrong_width")
    return found
