"""Cuts a corpus into folds for cross-validation, whole groups at a time.

Train and validation are put together and dealt out anew, so that each fold's validation holds other
signers (or documents) than its train; test goes along as it is. Groups go, largest first, to the
fold that has the fewest clips, after a shuffle by the seed: the same corpus and seed give the same
files. Folds of few groups are uneven; that is in the nature of the corpus. Rows that are not usable
(`problems()`) are left out.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.source import SourceConfig
from kinesweep.core.seeds import generator
from kinesweep.sources import build_source
from kinesweep.sources.skeleton_folds import SkeletonFolds
from kinesweep.sources.skeletons import SkeletonsSource
from kinesweep.sources.tsv import TsvSource

POOLED = ("train", "validation")
COLUMNS = (
    *("id", "signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("document", "order", "signer", "gloss", "language"),
)


def split_rows(
    config: SourceConfig, by: Literal["signer", "document"], folds: int, seed: int, out: Path
) -> list[Path]:
    """Writes `out/fold-K/train.tsv`, `validation.tsv` and, where there is one, `test.tsv`.

    Media paths are written relative to `folds_root(config)`, which a recipe over the folds names as
    `source.root` (skeletons: `source.motions`); ids are those of the corpus.

    Args:
        config: the corpus.
        by: what stays together.
        folds: how many, at least 2.
        seed: of the shuffle.
        out: a new or empty folder.

    Returns:
        The files written, fold by fold, train first.

    Raises:
        InputError: too few groups, clips without one, or a folder that holds something.
        SourceError: the metadata is malformed.
    """
    if folds < 2:
        raise InputError(f"`folds` must be at least 2, but is {folds}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"`{out}` is there already; name a new folder, nothing is overwritten")
    source = _tables_of(config)
    clips = [clip for split in POOLED if split in source.splits() for clip in source.clips(split)]
    fold_of = assign_folds(clips, by, folds, seed)
    test = source.clips("test") if "test" in source.splits() else []
    table = _writer(source, folds_root(config))
    written: list[Path] = []
    for fold in range(folds):
        held = {clip.id for clip in clips if fold_of[getattr(clip, by)] == fold}
        parts = {
            "train": [clip for clip in clips if clip.id not in held],
            "validation": [clip for clip in clips if clip.id in held],
            "test": test,
        }
        written += _write_fold(out / f"fold-{fold}", parts, table)
    return written


def assign_folds(clips: list[Clip], by: str, folds: int, seed: int) -> dict[str, int]:
    """Group → fold.

    Raises:
        InputError: clips without a group, or fewer groups than folds.
    """
    sizes: dict[str, int] = defaultdict(int)
    for clip in clips:
        sizes[getattr(clip, by)] += 1
    if "" in sizes:
        rows = [clip.row for clip in clips if not getattr(clip, by)]
        found = ", or find it in ids by `source.signer_pattern`, where there are skeletons"
        raise InputError(
            f"{len(rows)} of {len(clips)} clips have no `{by}` (first: {rows[0]});"
            f" fill the column `{by}`{found if by == 'signer' else ''}"
        )
    if len(sizes) < folds:
        raise InputError(
            f"{folds} folds need at least {folds} different values of `{by}`,"
            f" but train and validation have {len(sizes)}"
        )
    groups = sorted(sizes)
    generator(seed, "folds", by).shuffle(groups)
    filled = [0] * folds
    fold_of: dict[str, int] = {}
    for group in sorted(groups, key=lambda name: -sizes[name]):
        fold = filled.index(min(filled))
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return fold_of


def folds_root(config: SourceConfig) -> Path:
    """The folder that media paths of the folds are relative to: the root, or the tables' folder.

    Of skeletons in one `.npz` it is that file.
    """
    source = _tables_of(config)
    if isinstance(source, SkeletonsSource):
        return SkeletonFolds(source).motions
    return Path(os.path.commonpath([source.root(split) for split in source.splits()]))


def _tables_of(config: SourceConfig) -> TsvSource | SkeletonsSource:
    """The corpus, if it is one of tables.

    Raises:
        InputError: it is not.
    """
    source = build_source(config)
    if not isinstance(source, TsvSource | SkeletonsSource):
        what = "several corpora are" if config.kind == "corpora" else f"`{config.kind}` is"
        raise InputError(f"only a corpus of one TSV a split can be split; {what} not such a one")
    return source


def _writer(source: TsvSource | SkeletonsSource, root: Path) -> Callable[[list[Clip]], str]:
    """Makes a table of clips."""
    if isinstance(source, SkeletonsSource):
        return SkeletonFolds(source).table
    return lambda clips: _table(clips, source, root)


def _write_fold(
    folder: Path, parts: dict[str, list[Clip]], table: Callable[[list[Clip]], str]
) -> list[Path]:
    """Writes the tables of one fold, none for a split that has no clips."""
    folder.mkdir(parents=True)
    written = [folder / f"{split}.tsv" for split, clips in parts.items() if clips]
    for path in written:
        content = table(parts[path.stem])
        path.write_text(content, encoding="utf-8", newline="\n")
    return written


def _table(clips: list[Clip], source: TsvSource, root: Path) -> str:
    lines = ["\t".join(COLUMNS)]
    for clip in clips:
        media = Path(os.path.relpath(source.root(clip.split) / clip.media, root)).as_posix()
        start, end = (f"{bound or 0:.10g}" for bound in (clip.span.start, clip.span.end))
        prompts = (clip.encoder_prompt, clip.decoder_prompt, clip.texts[0])
        about = (clip.document, str(clip.order), clip.signer, clip.gloss, clip.language)
        lines.append("\t".join((clip.id, media, start, end, *prompts, *about)))
    return "\n".join(lines) + "\n"
