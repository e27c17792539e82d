"""Grouped cross-validation: splits a corpus into folds without dividing groups.

Train and validation are pooled and divided anew, so that the validation split of each fold has
other signers (or documents) than its train split; test is copied unchanged. After a shuffle with
the seed, the groups are assigned, largest first, to the fold with the fewest clips; the same corpus
and seed give the same files. With few groups the folds have uneven sizes. Unusable rows
(`list_invalid_rows()`) are left out.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from kinesweep.config.recipe.source import SourceConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator
from kinesweep.core.tables.table_writing import format_table
from kinesweep.sources import build_source
from kinesweep.sources.skeletons.skeletons import SkeletonsSource
from kinesweep.sources.splitting.skeleton_splits import SkeletonTableFormatter
from kinesweep.sources.tsv.media_tsv import MediaTsvSource
from kinesweep.sources.tsv.tsv_columns import WRITTEN_COLUMNS

POOLED_SPLITS = ("train", "validation")


def write_folds(
    config: SourceConfig, by: Literal["signer", "document"], num_folds: int, seed: int, out: Path
) -> list[Path]:
    """Write the tables of all folds, `fold-K/train.tsv`, `validation.tsv` and `test.tsv`.

    A split without clips gets no table. Media paths are written relative to
    `get_folds_root(config)`, which a recipe over the folds sets as `source.root` (for skeletons,
    `source.motions`). Clips keep their ids.

    Args:
        config: Configuration of the corpus.
        by: Field of a clip that contains its group, `signer` or `document`.
        num_folds: Number of folds, at least 2.
        seed: Random seed for the shuffle of the groups.
        out: New or empty folder for the tables.

    Returns:
        The paths of the files written, fold by fold, train first.

    Raises:
        InputError: If `num_folds` is less than 2, `out` is a file or not empty, the corpus is not
            listed in TSVs, clips have no group, or there are fewer groups than folds.
        SourceError: If the metadata is malformed.
    """
    if num_folds < 2:
        raise InputError(f"`folds` must be at least 2, but is {num_folds}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"`{out}` already exists; choose a new or empty folder, nothing is overwritten"
        )
    source = _build_tabular_source(config)
    splits = source.list_splits()
    clips = [
        clip for split in POOLED_SPLITS if split in splits for clip in source.list_clips(split)
    ]
    fold_by_group = assign_folds(clips, by, num_folds, seed)
    # Test takes no part in the cross-validation and is the same in all folds.
    test_clips = source.list_clips("test") if "test" in splits else []
    format_table = _make_table_formatter(source, get_folds_root(config))
    paths: list[Path] = []
    for fold in range(num_folds):
        validation_ids = {clip.id for clip in clips if fold_by_group[getattr(clip, by)] == fold}
        clips_by_split = {
            "train": [clip for clip in clips if clip.id not in validation_ids],
            "validation": [clip for clip in clips if clip.id in validation_ids],
            "test": test_clips,
        }
        paths += _write_fold(out / f"fold-{fold}", clips_by_split, format_table)
    return paths


def assign_folds(clips: list[Clip], by: str, num_folds: int, seed: int) -> dict[str, int]:
    """Assign each group of clips to a fold, so that the folds have similar numbers of clips.

    Args:
        clips: Clips of the pooled splits.
        by: Field of a clip that contains its group, `signer` or `document`.
        num_folds: Number of folds.
        seed: Random seed for the shuffle of the groups.

    Returns:
        Index of the fold, from 0, by group.

    Raises:
        InputError: If clips have no group, or there are fewer groups than folds.
    """
    group_sizes: dict[str, int] = defaultdict(int)
    for clip in clips:
        group_sizes[getattr(clip, by)] += 1
    if "" in group_sizes:
        rows_without_group = [clip.row for clip in clips if not getattr(clip, by)]
        hint = " or, for skeletons, extract it from ids with `source.signer_pattern`"
        raise InputError(
            f"{len(rows_without_group)} of {len(clips)} clips have no `{by}`"
            f" (first: {rows_without_group[0]});"
            f" fill the column `{by}`{hint if by == 'signer' else ''}"
        )
    if len(group_sizes) < num_folds:
        raise InputError(
            f"{num_folds} folds need at least {num_folds} different values of `{by}`,"
            f" but train and validation have {len(group_sizes)}"
        )
    # Sorted before the shuffle, so that the result does not depend on the order of the rows.
    groups = sorted(group_sizes)
    create_generator(seed, "folds", by).shuffle(groups)
    fold_sizes = [0] * num_folds
    fold_by_group: dict[str, int] = {}
    # The sort is stable: the shuffle decides between groups of equal size.
    for group in sorted(groups, key=lambda group: -group_sizes[group]):
        fold = fold_sizes.index(min(fold_sizes))
        fold_by_group[group] = fold
        fold_sizes[fold] += group_sizes[group]
    return fold_by_group


def get_folds_root(config: SourceConfig) -> Path:
    """Return the absolute path that a recipe over the folds sets as root of the media paths.

    This is the common folder of the roots of all splits. For skeletons in one `.npz` it is that
    file.

    Raises:
        InputError: If the corpus is not listed in TSVs.
        SourceError: If the metadata of a corpus of skeletons is malformed.
    """
    source = _build_tabular_source(config)
    if isinstance(source, SkeletonsSource):
        return SkeletonTableFormatter(source).motions_path
    return Path(os.path.commonpath([source.get_root(split) for split in source.list_splits()]))


def _build_tabular_source(config: SourceConfig) -> MediaTsvSource | SkeletonsSource:
    """Build the source of a corpus that is listed in one TSV per split.

    Raises:
        InputError: If the corpus is of a kind that is not listed in TSVs.
    """
    source = build_source(config)
    if not isinstance(source, MediaTsvSource | SkeletonsSource):
        description = "several corpora are" if config.kind == "corpora" else f"`{config.kind}` is"
        raise InputError(
            f"only a corpus with one TSV per split can be split; {description} not supported"
        )
    return source


def _make_table_formatter(
    source: MediaTsvSource | SkeletonsSource, root: Path
) -> Callable[[list[Clip]], str]:
    """Return the function that formats clips of a source as the text of a TSV.

    Args:
        source: Source of the clips.
        root: Folder that media paths are relative to; not used for skeletons.
    """
    if isinstance(source, SkeletonsSource):
        return SkeletonTableFormatter(source).format_table
    return lambda clips: _format_media_table(clips, source, root)


def _write_fold(
    folder: Path, clips_by_split: dict[str, list[Clip]], format_table: Callable[[list[Clip]], str]
) -> list[Path]:
    """Write the tables of one fold, and return their paths; a split without clips gets no table.

    Args:
        folder: New folder of the fold.
        clips_by_split: Clips by split.
        format_table: Function that formats clips as the text of a TSV.
    """
    folder.mkdir(parents=True)
    paths = [folder / f"{split}.tsv" for split, clips in clips_by_split.items() if clips]
    for path in paths:
        content = format_table(clips_by_split[path.stem])
        path.write_text(content, encoding="utf-8", newline="\n")
    return paths


def _format_media_table(clips: list[Clip], source: MediaTsvSource, root: Path) -> str:
    """Format clips as the text of a TSV with `WRITTEN_COLUMNS`; media paths start at `root`.

    Further references have columns of their own, `output_2` and so on.
    """
    num_texts = max(len(clip.texts) for clip in clips)
    references = tuple(f"output_{number}" for number in range(2, num_texts + 1))
    rows: list[tuple[str, ...]] = [(*WRITTEN_COLUMNS, *references)]
    # The recipe over the folds has the unit of the corpus; spans in seconds are kept in ms.
    unit = 1000 if source.time_unit == "s" else 1
    for clip in clips:
        media = source.format_media(clip, root)
        # `g` keeps fractions of a millisecond and writes whole numbers without a point.
        start, end = (f"{(bound or 0) / unit:.10g}" for bound in (clip.span.start, clip.span.end))
        prompts = (clip.encoder_prompt, clip.decoder_prompt, clip.texts[0])
        metadata = (clip.document, str(clip.order), clip.signer, clip.gloss, clip.language)
        further_texts = [*clip.texts[1:], *[""] * (num_texts - len(clip.texts))]
        rows.append((clip.id, media, start, end, *prompts, *metadata, *further_texts))
    return format_table(rows)
