"""The survey of a corpus before extraction: clips, keys, bad rows and fingerprint.

The survey opens no pose and decodes no video; it lists metadata and hashes content. For an
unchanged corpus this is the whole cost of an extraction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.paths import state_home
from kinesweep.features import build_features
from kinesweep.features.contract import FeatureStep
from kinesweep.sources import build_source
from kinesweep.sources.base import MediaDigest, Source
from kinesweep.store.format.fingerprint import (
    STORE_FORMAT,
    clip_key,
    hash_media,
    media_of,
    problems_fingerprint,
    split_fingerprint,
)


@dataclass(frozen=True)
class Extraction:
    """The settings of an extraction; picklable.

    Attributes:
        source: Corpus to extract.
        step: Feature step that computes the streams of each clip.
        root: Folder that contains all stores; clips found in any of them are not computed again.
        dtype: Stored dtype, `float16` or `float32`.
        max_dropped_share: Largest allowed share of dropped clips.
        required_splits: Splits that may not lose any clip.
        reading: Read options that determine, beside the file, the media of a clip, for example the
            selected person.
    """

    source: Source
    step: FeatureStep
    root: Path
    dtype: str = "float16"
    max_dropped_share: float = 0.01
    required_splits: tuple[str, ...] = ()
    reading: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_recipe(cls, recipe: Recipe, root: Path | None = None) -> "Extraction":
        """Return the extraction that a recipe defines.

        Args:
            recipe: Recipe that defines the corpus, the features and the store.
            root: Folder that contains all stores; overrides the recipe's.
        """
        chosen = root or (Path(recipe.store.root) if recipe.store.root else state_home() / "stores")
        source = build_source(recipe.corpus)
        return cls(
            source=source,
            step=build_features(recipe.features),
            root=Path(chosen).absolute(),
            dtype=recipe.store.dtype,
            max_dropped_share=recipe.store.max_dropped_share,
            required_splits=recipe.required_splits,
            reading=source.read_options(),
        )

    def key_part(self) -> dict[str, Any]:
        """Return the values that enter a clip's key beside its media and span."""
        first, *others = self.step.streams
        # A single stream keeps the key `stream` from before there could be several, so the
        # fingerprints of existing stores stay valid.
        streams = {"streams": [first, *others]} if others else {"stream": first}
        part = {**streams, "features": self.step.fingerprint}
        return {**part, "dtype": self.dtype, "reading": self.reading}


@dataclass(frozen=True)
class Survey:
    """A corpus before extraction.

    Attributes:
        clips: Split → usable clips, each with its key and the size of its files in bytes.
        problems: Rows that are known to be bad: those of the source, then clips without readable
            media.
        tree: Fingerprints from which `fingerprint` is computed.
        fingerprint: Fingerprint of the store to be written.
    """

    clips: dict[str, tuple[tuple[Clip, str, int], ...]]
    problems: tuple[InvalidRow, ...]
    tree: dict[str, Any]
    fingerprint: str

    @property
    def num_clips(self) -> int:
        """Return the number of usable clips."""
        return sum(len(clips) for clips in self.clips.values())

    @property
    def folder_name(self) -> str:
        """Return the name of the store's folder below the root."""
        # 16 digits are 64 bits, enough to tell the stores of a root apart.
        return self.fingerprint[:16]


def survey_corpus(extraction: Extraction) -> Survey:
    """List the clips of a corpus and hash their media.

    Raises:
        SourceError: If the corpus as a whole cannot be read.
    """
    source = extraction.source
    listed = {split: source.clips(split) for split in source.splits()}
    # Clips that share a file with others; the source reports the content of each clip's part.
    inner = source.contents([clip for clips in listed.values() for clip in clips])
    files = {
        clip: _files(source, clip)
        for clips in listed.values()
        for clip in clips
        if clip not in inner
    }
    # All files are hashed in one call, so each distinct file is read once.
    contents = hash_media(
        path for paths in files.values() if not isinstance(paths, ClipError) for path in paths
    )
    part = extraction.key_part()
    problems = list(source.problems())
    keyed: dict[str, tuple[tuple[Clip, str, int], ...]] = {}
    for split, clips in listed.items():
        usable = []
        for clip in clips:
            media = inner.get(clip) or _content(files[clip], contents)
            if isinstance(media, MediaDigest):
                usable.append((clip, clip_key(clip, media.sha256, part), media.num_bytes))
            else:
                problems.append(InvalidRow(clip.row, clip.id, media.reason, str(media), split))
        keyed[split] = tuple(usable)
    tree = _tree(part, keyed, problems)
    return Survey(keyed, tuple(problems), tree, fingerprint(tree))


def _files(source: Source, clip: Clip) -> tuple[Path, ...] | ClipError:
    """Return the paths of a clip's media and auxiliary files, or the error if they are missing."""
    try:
        return source.media_path(clip), *source.auxiliary_files(clip)
    except ClipError as error:
        return error


def _content(
    files: tuple[Path, ...] | ClipError, contents: Mapping[Path, MediaDigest | ClipError]
) -> MediaDigest | ClipError:
    """Return the content of a clip's files, or the error if they cannot be read."""
    return files if isinstance(files, ClipError) else media_of(contents, files)


def _tree(
    part: dict[str, Any],
    clips: dict[str, tuple[tuple[Clip, str, int], ...]],
    problems: list[InvalidRow],
) -> dict[str, Any]:
    """Return the fingerprints of everything that determines the content of a store."""
    return {
        "format": STORE_FORMAT,
        **part,
        "splits": [
            [name, split_fingerprint([(clip, key) for clip, key, _ in keyed])]
            for name, keyed in clips.items()
        ],
        "problems": problems_fingerprint(problems),
    }
