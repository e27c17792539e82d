"""The scan of a corpus before extraction: clips, keys, invalid rows and fingerprint.

The scan opens no pose and decodes no video; it lists metadata and hashes content. For an
unchanged corpus this is the whole cost of an extraction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.config.parts import describe_packages
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import PartialStoreConfig
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.config.recipe.paths import make_source_paths_absolute
from kinesweep.config.recipe.source import FeaturesConfig, SourceConfig
from kinesweep.config.recipe.video import VideoEpochConfig
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.paths import get_state_dir
from kinesweep.features import build_features
from kinesweep.features.contract import FeatureStep
from kinesweep.sources import build_source
from kinesweep.sources.base import MediaDigest, Source
from kinesweep.store.format.fingerprint import (
    STORE_FORMAT,
    combine_media_digests,
    compute_clip_key,
    compute_invalid_rows_fingerprint,
    compute_split_fingerprint,
    hash_media_files,
)
from kinesweep.store.format.video_frames import VideoOrigin


@dataclass(frozen=True)
class ExtractionSpec:
    """The corpus, feature step and limits of an extraction; it can be pickled.

    Attributes:
        source: Corpus to extract.
        step: Feature step that computes the streams of each clip.
        root: Folder that contains all stores; clips found in any of them are not computed again.
        dtype: Stored dtype, `float16` or `float32`; `uint8` for frames.
        max_dropped_share: Largest allowed share of dropped clips.
        required_splits: Splits that may not lose any clip.
        read_options: Read options that determine, beside the file, the media of a clip, for example
            the selected person.
        videos: Source with absolute paths and crop, if the store holds no frames but decodes them
            from its videos; otherwise None.
        splits: Splits to extract; None extracts all.
        depends_on_ids: Whether the features of a clip also depend on its id, as random augmentation
            does.
    """

    source: Source
    step: FeatureStep
    root: Path
    dtype: str = "float16"
    max_dropped_share: float = 0.01
    required_splits: tuple[str, ...] = ()
    read_options: dict[str, Any] = field(default_factory=dict)
    videos: VideoOrigin | None = None
    splits: tuple[str, ...] | None = None
    depends_on_ids: bool = False

    @classmethod
    def from_recipe(cls, recipe: Recipe, root: Path | None = None) -> "ExtractionSpec":
        """Create the specification of the extraction that a recipe defines.

        It takes the whole recipe because source, features and store depend on each other in
        `effective_source` and `required_splits`. All other modules of the extraction take the
        specification.

        Args:
            recipe: Recipe that defines the corpus, the features and the store.
            root: Folder that contains all stores. Default: `store.root` of the recipe, then the
                state folder.
        """
        store_root = root or (
            Path(recipe.store.root) if recipe.store.root else get_state_dir() / "stores"
        )
        source = build_source(recipe.effective_source)
        return cls(
            source=source,
            step=build_features(recipe.single_features),
            root=Path(store_root).absolute(),
            dtype=_choose_dtype(recipe.single_features, recipe.store.dtype),
            max_dropped_share=recipe.store.max_dropped_share,
            required_splits=recipe.required_splits,
            read_options={
                **source.get_read_options(),
                # Another version of a package may read or compute something else.
                **describe_packages(recipe.effective_source, recipe.single_features),
            },
            videos=find_video_origin(recipe.effective_source, recipe.single_features),
            splits=recipe.store.splits if isinstance(recipe.store, PartialStoreConfig) else None,
            depends_on_ids=isinstance(recipe.single_features, VideoEpochConfig),
        )

    def includes(self, split: str) -> bool:
        """Return whether the clips of a split are extracted."""
        return self.splits is None or split in self.splits

    def compute_key(self, clip: Clip, media_sha256: str, key_settings: Mapping[str, Any]) -> str:
        """Compute the key of a clip's features.

        Args:
            clip: Clip.
            media_sha256: SHA-256 of the content of the clip's files.
            key_settings: Result of `get_clip_key_settings`, which reads the weights of encoders.
        """
        own_settings = {"clip": clip.id} if self.depends_on_ids else {}
        return compute_clip_key(clip, media_sha256, {**key_settings, **own_settings})

    def get_clip_key_settings(self) -> dict[str, Any]:
        """Return the settings that a clip's key covers in addition to its media and span.

        They are the streams, the fingerprint of the feature step, the dtype and the read options.
        """
        names = list(self.step.streams)
        # A single stream keeps the key `stream` of the versions that supported only one stream, so
        # the fingerprints of existing stores stay valid.
        streams: dict[str, Any] = {"stream": names[0]} if len(names) == 1 else {"streams": names}
        settings = {**streams, "features": self.step.fingerprint}
        return {**settings, "dtype": self.dtype, "reading": self.read_options}


def find_video_origin(source: SourceConfig, features: object) -> VideoOrigin | None:
    """Return where the frames of a store come from that it does not hold, with absolute paths.

    Args:
        source: Source of the corpus as adapted to the features.
        features: Section `features` of the recipe.

    Returns:
        Source and crop; None if the store holds all features itself.
    """
    if not isinstance(features, FramesFeaturesConfig) or features.storage == "decoded":
        return None
    return VideoOrigin(make_source_paths_absolute(source, Path.cwd()), features.crop)


@dataclass(frozen=True)
class CorpusScan:
    """The result of scanning a corpus before extraction.

    Attributes:
        clips: Split → usable clips in the order of the source, each with its key and the size of
            its media in bytes.
        invalid_rows: Rows that are known to be invalid: those that the source reports, then clips
            without readable media.
        fingerprint_parts: Settings and fingerprints from which `fingerprint` is computed.
        fingerprint: Fingerprint of the store to be written.
    """

    clips: dict[str, tuple[tuple[Clip, str, int], ...]]
    invalid_rows: tuple[InvalidRow, ...]
    fingerprint_parts: dict[str, Any]
    fingerprint: str

    @property
    def num_clips(self) -> int:
        """Return the number of usable clips in all splits."""
        return sum(len(clips) for clips in self.clips.values())

    @property
    def folder_name(self) -> str:
        """Return the name of the store's folder below the root: 16 digits of the fingerprint."""
        # 16 digits are 64 bits, enough to tell the stores of a root apart.
        return self.fingerprint[:16]


def _choose_dtype(features: FeaturesConfig, store_dtype: str) -> str:
    """Return the stored dtype of features: `store.dtype`, except for pixels and token ids."""
    # float16 represents integers exactly only up to 2,048; vocabularies are larger.
    if features.kind == "text":
        return "int32"
    is_pixels = isinstance(features, ImagesFeaturesConfig) and features.encoder is None
    return "uint8" if is_pixels or features.kind == "frames" else store_dtype


def scan_corpus(extraction: ExtractionSpec) -> CorpusScan:
    """Scan a corpus: list its clips, hash their media and compute keys and fingerprint.

    A clip without readable media becomes an invalid row.

    Args:
        extraction: Source and settings of the extraction.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
    """
    source = extraction.source
    clips_by_split = {
        split: source.list_clips(split)
        for split in source.list_splits()
        if extraction.includes(split)
    }
    # For clips that share a file with others, the source computes the digest of each clip's part.
    shared_file_digests = source.compute_digests(
        [clip for clips in clips_by_split.values() for clip in clips]
    )
    files_by_clip = {
        clip: _find_clip_files(source, clip)
        for clips in clips_by_split.values()
        for clip in clips
        if clip not in shared_file_digests
    }
    # All files are hashed in one call, so each distinct file is read once.
    digests = hash_media_files(
        path
        for paths in files_by_clip.values()
        if not isinstance(paths, ClipError)
        for path in paths
    )
    key_settings = extraction.get_clip_key_settings()
    # A row without a split may belong to any, so it is reported whichever splits are extracted.
    invalid_rows = [
        row for row in source.list_invalid_rows() if not row.split or extraction.includes(row.split)
    ]
    keyed_clips: dict[str, tuple[tuple[Clip, str, int], ...]] = {}
    for split, clips in clips_by_split.items():
        usable_clips = []
        for clip in clips:
            media = shared_file_digests.get(clip) or _get_clip_digest(files_by_clip[clip], digests)
            if isinstance(media, MediaDigest):
                usable_clips.append(
                    (
                        clip,
                        extraction.compute_key(clip, media.sha256, key_settings),
                        media.num_bytes,
                    )
                )
            else:
                invalid_rows.append(InvalidRow(clip.row, clip.id, media.reason, str(media), split))
        keyed_clips[split] = tuple(usable_clips)
    fingerprint_parts = _build_fingerprint_parts(key_settings, keyed_clips, invalid_rows)
    return CorpusScan(
        keyed_clips, tuple(invalid_rows), fingerprint_parts, compute_fingerprint(fingerprint_parts)
    )


def _find_clip_files(source: Source, clip: Clip) -> tuple[Path, ...] | ClipError:
    """Find the media and the auxiliary files of a clip.

    Args:
        source: Corpus that contains the clip.
        clip: Clip to find.

    Returns:
        Path of the media, followed by the paths of the auxiliary files; or the error if one of them
        does not exist.
    """
    try:
        return source.resolve_media_path(clip), *source.list_auxiliary_files(clip)
    except ClipError as error:
        return error


def _get_clip_digest(
    files: tuple[Path, ...] | ClipError, digests: Mapping[Path, MediaDigest | ClipError]
) -> MediaDigest | ClipError:
    """Return the combined digest of a clip's files.

    Args:
        files: Files of the clip, or the error of finding them (`_find_clip_files`).
        digests: Digest of each file, or the error of reading it.

    Returns:
        The digest, or the first error.
    """
    return files if isinstance(files, ClipError) else combine_media_digests(digests, files)


def _build_fingerprint_parts(
    key_settings: dict[str, Any],
    clips: dict[str, tuple[tuple[Clip, str, int], ...]],
    invalid_rows: list[InvalidRow],
) -> dict[str, Any]:
    """Build the settings and fingerprints that together determine the content of a store.

    Args:
        key_settings: Settings that are part of all keys (`ExtractionSpec.get_clip_key_settings`).
        clips: Split → usable clips with key and size in bytes.
        invalid_rows: Rows that are known to be invalid.
    """
    return {
        "format": STORE_FORMAT,
        **key_settings,
        "splits": [
            [name, compute_split_fingerprint([(clip, key) for clip, key, _ in keyed])]
            for name, keyed in clips.items()
        ],
        "problems": compute_invalid_rows_fingerprint(invalid_rows),
    }
