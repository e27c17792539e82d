"""Grouped cross-validation: splits a corpus into folds without dividing groups.

Train and validation are pooled and divided anew, so that the validation split of each fold has
other signers (or documents) than its train split; test is copied unchanged. After a shuffle with
the seed, the groups are assigned, largest first, to the fold with the fewest clips; the same corpus
and seed give the same files. With few groups the folds have uneven sizes. Unusable rows
(`problems()`) are left out.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from kinesweep.config.recipe.source import SourceConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import generator
from kinesweep.sources import build_source
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.splitting.skeleton_splits import SkeletonFolds
from kinesweep.sources.tsv.media_tsv import TsvSource

POOLED = ("train", "validation")
COLUMNS = (
    *("id", "signal", "signal_start", "signal_end", "encoder_prompt", "decoder_prompt", "output"),
    *("document", "order", "signer", "gloss", "language"),
)


def split_rows(
    config: SourceConfig, by: Literal["signer", "document"], folds: int, seed: int, out: Path
) -> list[Path]:
    """Write `out/fold-K/train.tsv`, `validation.tsv` and, if the corpus has one, `test.tsv`.

    Media paths are written relative to `folds_root(config)`, which a recipe over the folds sets as
    `source.root` (for skeletons, `source.motions`). Clips keep their ids.

    Args:
        config: Configuration of the corpus.
        by: Field whose equal values stay in the same fold.
        folds: Number of folds, at least 2.
        seed: Random seed for the shuffle of the groups.
        out: New or empty folder for the tables.

    Returns:
        The paths of the files written, fold by fold, train first.

    Raises:
        InputError: If there are too few groups, clips without a group, or files in `out`.
        SourceError: If the metadata is malformed.
    """
    if folds < 2:
        raise InputError(f"`folds` must be at least 2, but is {folds}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"`{out}` already exists; choose a new or empty folder, nothing is overwritten"
        )
    source = _tables_of(config)
    clips = [clip for split in POOLED if split in source.splits() for clip in source.clips(split)]
    fold_of = assign_folds(clips, by, folds, seed)
    # Test takes no part in the cross-validation and is the same in all folds.
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
    """Assign each group to a fold.

    Args:
        clips: Clips of the pooled splits.
        by: Field of a clip that holds its group.
        folds: Number of folds.
        seed: Random seed for the shuffle of the groups.

    Returns:
        Index of the fold by group.

    Raises:
        InputError: If clips have no group, or there are fewer groups than folds.
    """
    sizes: dict[str, int] = defaultdict(int)
    for clip in clips:
        sizes[getattr(clip, by)] += 1
    if "" in sizes:
        rows = [clip.row for clip in clips if not getattr(clip, by)]
        found = " or, for skeletons, extract it from ids with `source.signer_pattern`"
        raise InputError(
            f"{len(rows)} of {len(clips)} clips have no `{by}` (first: {rows[0]});"
            f" fill the column `{by}`{found if by == 'signer' else ''}"
        )
    if len(sizes) < folds:
        raise InputError(
            f"{folds} folds need at least {folds} different values of `{by}`,"
            f" but train and validation have {len(sizes)}"
        )
    # Sorted before the shuffle, so that the result does not depend on the order of the rows.
    groups = sorted(sizes)
    generator(seed, "folds", by).shuffle(groups)
    filled = [0] * folds
    fold_of: dict[str, int] = {}
    # The sort is stable: the shuffle decides between groups of equal size.
    for group in sorted(groups, key=lambda name: -sizes[name]):
        fold = filled.index(min(filled))
        fold_of[group] = fold
        filled[fold] += sizes[group]
    return fold_of


def folds_root(config: SourceConfig) -> Path:
    """Return the folder that the media paths of the folds are relative to.

    This is the common folder of the roots of all splits. For skeletons in one `.npz` it is that
    file.
    """
    source = _tables_of(config)
    if isinstance(source, SkeletonsSource):
        return SkeletonFolds(source).motions
    return Path(os.path.commonpath([source.root(split) for split in source.splits()]))


def _tables_of(config: SourceConfig) -> TsvSource | SkeletonsSource:
    """Build the source of a corpus that is listed in TSVs.

    Raises:
        InputError: If the corpus is of another kind.
    """
    source = build_source(config)
    if not isinstance(source, TsvSource | SkeletonsSource):
        what = "several corpora are" if config.kind == "corpora" else f"`{config.kind}` is"
        raise InputError(f"only a corpus with one TSV per split can be split; {what} not supported")
    return source


def _writer(source: TsvSource | SkeletonsSource, root: Path) -> Callable[[list[Clip]], str]:
    """Return a function that formats clips as a table."""
    if isinstance(source, SkeletonsSource):
        return SkeletonFolds(source).table
    return lambda clips: _table(clips, source, root)


def _write_fold(
    folder: Path, parts: dict[str, list[Clip]], table: Callable[[list[Clip]], str]
) -> list[Path]:
    """Write the tables of one fold; a split without clips gets no table."""
    folder.mkdir(parents=True)
    written = [folder / f"{split}.tsv" for split, clips in parts.items() if clips]
    for path in written:
        content = table(parts[path.stem])
        path.write_text(content, encoding="utf-8", newline="\n")
    return written


def _table(clips: list[Clip], source: TsvSource, root: Path) -> str:
    """Format clips as a TSV with the newest column names."""
    lines = ["\t".join(COLUMNS)]
    for clip in clips:
        media = Path(os.path.relpath(source.root(clip.split) / clip.media, root)).as_posix()
        # `g` keeps fractions of a millisecond and writes whole numbers without a point.
        start, end = (f"{bound or 0:.10g}" for bound in (clip.span.start, clip.span.end))
        prompts = (clip.encoder_prompt, clip.decoder_prompt, clip.texts[0])
        about = (clip.document, str(clip.order), clip.signer, clip.gloss, clip.language)
        lines.append("\t".join((clip.id, media, start, end, *prompts, *about)))
    return "\n".join(lines) + "\n"
