"""What a corpus holds, before anything is computed: clips, keys, bad rows, a fingerprint.

The survey opens no pose and decodes no video; it lists metadata and hashes content. That is all
that an unchanged corpus costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import fingerprint
from kinesweep.core.paths import state_home
from kinesweep.core.recipe import Recipe
from kinesweep.features import build_features
from kinesweep.features.contract import FeatureStep
from kinesweep.sources import build_source
from kinesweep.sources.contract import Content, Source
from kinesweep.store.fingerprint import (
    STORE_FORMAT,
    clip_key,
    hash_media,
    media_of,
    problems_fingerprint,
    split_fingerprint,
)


@dataclass(frozen=True)
class Extraction:
    """Everything an extraction needs; picklable.

    Attributes:
        source: the corpus.
        step: what is computed of each clip.
        root: folder of all stores; clips found in any of them are not computed again.
        dtype: type of features on disk.
        max_dropped_share: share of clips that may be dropped.
        complete: splits of which none may be.
        reading: what else decides how a media file is read, for example the chosen person.
    """

    source: Source
    step: FeatureStep
    root: Path
    dtype: str = "float16"
    max_dropped_share: float = 0.01
    complete: tuple[str, ...] = ()
    reading: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_recipe(cls, recipe: Recipe, root: Path | None = None) -> "Extraction":
        """The extraction that a recipe asks for; `root` overrides the recipe's."""
        chosen = root or (Path(recipe.store.root) if recipe.store.root else state_home() / "stores")
        source = build_source(recipe.corpus)
        return cls(
            source=source,
            step=build_features(recipe.features),
            root=Path(chosen).absolute(),
            dtype=recipe.store.dtype,
            max_dropped_share=recipe.store.max_dropped_share,
            complete=recipe.complete,
            reading=source.reading(),
        )

    def key_part(self) -> dict[str, Any]:
        """What a clip's key covers beside its media and span."""
        first, *others = self.step.streams
        # One stream is named as it was when there was never more: stores keep their names.
        streams = {"streams": [first, *others]} if others else {"stream": first}
        part = {**streams, "features": self.step.fingerprint}
        return {**part, "dtype": self.dtype, "reading": self.reading}


@dataclass(frozen=True)
class Survey:
    """A corpus before extraction.

    Attributes:
        clips: split → clips that can be tried, each with its key and the bytes of its files.
        problems: rows that are known to be bad: the source's, then clips without readable media.
        tree: the fingerprints that `fingerprint` is made of.
        fingerprint: names the store to be.
    """

    clips: dict[str, tuple[tuple[Clip, str, int], ...]]
    problems: tuple[RowProblem, ...]
    tree: dict[str, Any]
    fingerprint: str

    @property
    def num_clips(self) -> int:
        """Clips that can be tried."""
        return sum(len(clips) for clips in self.clips.values())

    @property
    def folder_name(self) -> str:
        """The store's folder below the root."""
        return self.fingerprint[:16]


def survey_corpus(extraction: Extraction) -> Survey:
    """Lists the clips and hashes their media.

    Raises:
        SourceError: the corpus is faulty as a whole.
    """
    source = extraction.source
    listed = {split: source.clips(split) for split in source.splits()}
    inner = source.contents([clip for clips in listed.values() for clip in clips])
    files = {
        clip: _files(source, clip)
        for clips in listed.values()
        for clip in clips
        if clip not in inner
    }
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
            if isinstance(media, Content):
                usable.append((clip, clip_key(clip, media.sha256, part), media.num_bytes))
            else:
                problems.append(RowProblem(clip.row, clip.id, media.reason, str(media), split))
        keyed[split] = tuple(usable)
    tree = _tree(part, keyed, problems)
    return Survey(keyed, tuple(problems), tree, fingerprint(tree))


def _files(source: Source, clip: Clip) -> tuple[Path, ...] | ClipError:
    """Where a clip's media and its companions lie, or why they do not."""
    try:
        return source.media_path(clip), *source.companions(clip)
    except ClipError as error:
        return error


def _content(
    files: tuple[Path, ...] | ClipError, contents: Mapping[Path, Content | ClipError]
) -> Content | ClipError:
    """A clip's content, or why it cannot be read."""
    return files if isinstance(files, ClipError) else media_of(contents, files)


def _tree(
    part: dict[str, Any],
    clips: dict[str, tuple[tuple[Clip, str, int], ...]],
    problems: list[RowProblem],
) -> dict[str, Any]:
    """The fingerprints of all that makes a store."""
    return {
        "format": STORE_FORMAT,
        **part,
        "splits": [
            [name, split_fingerprint([(clip, key) for clip, key, _ in keyed])]
            for name, keyed in clips.items()
        ],
        "problems": problems_fingerprint(problems),
    }
