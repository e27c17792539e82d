"""The reader of a feature store, which returns views of its features.

Shards are memory-mapped, not read: all processes of a machine share one copy in the page cache, and
accessing a clip's features takes microseconds. Opening checks the manifest, the index and the size
of every file; `checks.verify_store` reads all bytes. Shapes: T frames, D width.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from kinesweep.core.errors import StoreError
from kinesweep.core.html_table import format_html_key_values
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.features.quality.split_quality import SplitQuality, parse_quality_section
from kinesweep.store.format.index import ClipRecord, parse_index_table
from kinesweep.store.format.manifest import make_damage_error, read_store_manifest
from kinesweep.store.format.mapped_shard import MappedShard
from kinesweep.store.format.statistics_table import STATISTICS, read_statistics_table
from kinesweep.store.format.store_parts import (
    StorePart,
    StoreParts,
    check_part,
    parse_part_references,
)
from kinesweep.store.format.video_frames import VideoFrames
from kinesweep.store.format.writer import INDEX


@dataclass(frozen=True)
class ExtractionCounts:
    """The numbers of clips that one extraction computed, reused and dropped.

    Attributes:
        computed: Number of clips whose features were computed.
        reused: Number of clips whose features this store or another one already contained.
        dropped: Number of rows that could not be used.
    """

    computed: int
    reused: int
    dropped: int


class Store:
    """The extracted streams of a corpus; immutable, opened by `open_store`.

    A store pickles as its path and is opened again when it is unpickled.

    Attributes:
        folder: Folder of the store.
        manifest: Content of the manifest (see `finalize_store`), without its checksum.
        extraction: Counts of the extraction that returned this store; None after `open_store`.
        parts: Stores of the streams of a combined store; None for a store that holds features.
    """

    def __init__(
        self, folder: Path, manifest: dict[str, Any], parts: StoreParts | None = None
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.parts = parts
        self.extraction: ExtractionCounts | None = None
        self._shards: dict[str, MappedShard] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapped memory cannot be pickled; the other process maps the files itself.
        return open_store, (self.folder,)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(self.get_records(name))}" for name in self.splits)
        return f"Store({str(self.folder)!r}: {counts})"

    def _repr_html_(self) -> str:
        """Return the numbers of clips and dropped clips, and the streams, as HTML for notebooks."""
        clip_counts = {f"{split} clips": len(self.get_records(split)) for split in self.splits}
        stream_widths = {
            f"stream `{name}`": stream.describe_frame()
            for name, stream in self.schema.streams.items()
        }
        drop_counts = {
            f"dropped: {reason}": count
            for reason, count in self.manifest["dropped"]["reasons"].items()
        }
        title = f"Feature store {self.folder.name}"
        return format_html_key_values(title, {**clip_counts, **stream_widths, **drop_counts})

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of corpus, texts and features, 64 hexadecimal digits."""
        return str(self.manifest["fingerprint"])

    @cached_property
    def schema(self) -> StoreSchema:
        """Return the schema of the streams: width, frame rate, dtype and points of each."""
        schemas = self.manifest["streams"].items()
        return StoreSchema({name: StreamSchema.from_json(schema) for name, schema in schemas})

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits, in the order of the source."""
        return tuple(self.manifest["splits"])

    def get_records(self, split: str) -> list[ClipRecord]:
        """Return the records of the clips of a split, in the order of the source.

        Raises:
            StoreError: If there is no such split.
        """
        if split not in self._records:
            raise StoreError(
                f"the store `{self.folder}` has no split `{split}`; it has"
                f" {', '.join(self.splits)}. Name the split in the recipe's `source`."
            )
        # A copy, because callers may sort or filter the list.
        return list(self._records[split])

    @property
    def self_comparison_counts(self) -> dict[str, int]:
        """Return split → number of clips without a reference motion.

        These clips are compared with themselves. The mapping is empty if the store has no stream
        `reference` that consists of points, because its clips are not compared.
        """
        schema = self.schema.streams.get("reference")
        if schema is None or schema.layout is None:
            return {}
        return {
            split: sum(not record.clip.reference for record in records)
            for split, records in self._records.items()
        }

    def get_media_statistics(self, split: str) -> list[MediaStatistics | None]:
        """Return the statistics of the media of a split's clips, in the order of `get_records`.

        They are None for media without points, and in a store of an earlier version.

        Raises:
            StoreError: If there is no such split.
        """
        records = self.get_records(split)
        if self.parts is not None:
            return [self.parts.find_media_statistics(record) for record in records]
        return [self.find_media_statistics(record.key) for record in records]

    def find_media_statistics(self, key: str) -> MediaStatistics | None:
        """Return the statistics of the media of the clip with a key, or None if there are none."""
        return self._media_statistics.get(key)

    @property
    def quality(self) -> dict[str, SplitQuality]:
        """Return split → quality of its poses; empty for a store without statistics of media."""
        return parse_quality_section(self.manifest.get("quality", {}))

    def get_features(self, record: ClipRecord) -> dict[str, NDArray[Any]]:
        """Return the features of a clip as views of its shard, or decode its video.

        The shard is memory-mapped on first use and stays mapped as long as the store is open. With
        `features.storage: video` there is none: the frames are decoded on every call.

        Args:
            record: Record of the clip, from `get_records`.

        Returns:
            Stream → read-only array (T, D) in the stored dtype; without streams that the clip lacks
            in a combined store.

        Raises:
            StoreError: If the shard is damaged, or the video cannot be read or has changed.
        """
        if self.parts is not None:
            return self.parts.get_features(record)
        if self.reads_video:
            return self._video_frames.read(record)
        shard = self._shards.get(record.shard)
        if shard is None:
            shard = self._shards[record.shard] = self._map_shard(record.shard)
        # Slicing and reshaping return views, so no feature is read before it is used.
        return {
            stream: values.reshape(record.lengths[stream], -1)
            for stream, values in shard.get_values(record.shard_row).items()
        }

    def compute_disk_bytes(self) -> int:
        """Compute the size of the store's files on disk in bytes, with those of its parts."""
        parts = self.parts.list_folders(self.folder) if self.parts is not None else []
        return sum(map(compute_directory_size, [self.folder, *parts]))

    def compute_clip_bytes(self, record: ClipRecord) -> int:
        """Compute the size of a clip's features in all streams, in bytes."""
        return sum(
            record.lengths.get(name, 0) * schema.bytes_per_frame
            for name, schema in self.schema.streams.items()
        )

    @property
    def reads_video(self) -> bool:
        """Return whether the store holds no pixels, but decodes the videos of the corpus."""
        return any(stream.reads_video for stream in self.schema.streams.values())

    @cached_property
    def _video_frames(self) -> VideoFrames:
        """Return the reader of frames that the store does not hold."""
        return VideoFrames(self.folder, self.schema)

    @cached_property
    def _records(self) -> dict[str, list[ClipRecord]]:
        """Return split → records in the order of the source, read from the index once."""
        with pa.memory_map(str(self.folder / INDEX)) as file:
            table = pa.ipc.open_file(file).read_all()
        records_by_split: dict[str, list[ClipRecord]] = {split: [] for split in self.splits}
        for record in parse_index_table(table, list(self.schema.streams)):
            records_by_split[record.clip.split].append(record)
        return records_by_split

    @cached_property
    def _media_statistics(self) -> dict[str, MediaStatistics | None]:
        """Return key of the features → statistics of the media, read from their table once."""
        if STATISTICS not in self.manifest["files"]:
            return {}
        statistics = read_statistics_table(self.folder / STATISTICS)
        # The rows have the order of the index, which lists one split after the other.
        keys = [record.key for split in self.splits for record in self._records[split]]
        return dict(zip(keys, statistics, strict=True))

    def _map_shard(self, shard: str) -> MappedShard:
        """Map a shard into memory.

        Args:
            shard: Path of the shard, relative to the store.

        Raises:
            StoreError: If the shard cannot be read.
        """
        path = self.folder / shard
        try:
            return MappedShard(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise make_damage_error(path, str(error)) from None


def open_store(folder: Path) -> Store:
    """Open a store after checking its manifest, its index and the size of every file.

    The stores of the parts of a combined store are opened too.

    Args:
        folder: Folder of the store.

    Raises:
        StoreError: If there is no store, it has another format, or it is damaged.
    """
    manifest = read_store_manifest(Path(folder))
    return Store(Path(folder), manifest, _open_parts(Path(folder), manifest))


def _open_parts(folder: Path, manifest: dict[str, Any]) -> StoreParts | None:
    """Open the stores of the streams of a combined store; None for a store that holds features.

    Args:
        folder: Folder of the store.
        manifest: Content of the manifest.

    Raises:
        StoreError: If the store of a part is missing, damaged, or another one.
    """
    parts = []
    for reference in parse_part_references(manifest):
        # Opened with the combined store, so that a missing part is found before training.
        store = open_store(folder / reference.folder)
        check_part(folder, reference, store)
        parts.append(StorePart(reference, store))
    return StoreParts(parts) if parts else None
