"""Source texts of clips, which COMET reads beside a translation and its reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kinesweep.config.recipe.metrics import CometConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.sources.tsv.tsv_reader import read_table


def get_source_texts(config: CometConfig | None, clips: Sequence[Clip]) -> dict[str, str]:
    """Return the source text of each clip as `evaluation.neural_metrics.comet` selects it.

    Args:
        config: Settings of COMET; None gives no texts.
        clips: Clips of a split.

    Returns:
        Clip id → source text, which may be empty or missing.

    Raises:
        InputError: If the table of source texts cannot be read.
    """
    if config is None:
        return {}
    if config.source_table is not None:
        return _read_source_table(Path(config.source_table))
    if config.source == "gloss":
        return {clip.id: clip.gloss for clip in clips}
    if config.source == "signal":
        # The input of such a clip stands in the table; a recipe refuses this for media files.
        return {clip.id: clip.media for clip in clips}
    return {clip.id: clip.encoder_prompt for clip in clips}


def check_source_texts(
    config: CometConfig, clip_ids: Sequence[str], sources: Mapping[str, str]
) -> None:
    """Check that every clip has a source text.

    Args:
        config: Settings of COMET, which name where the texts come from.
        clip_ids: Ids of the clips to score.
        sources: Clip id → source text.

    Raises:
        InputError: If a clip has none.
    """
    missing = [clip_id for clip_id in clip_ids if not sources.get(clip_id, "").strip()]
    if missing:
        raise InputError(
            f"COMET needs a source text of every clip, but {len(missing)} of {len(clip_ids)} have"
            f" none in `{config.source}`; the first is `{missing[0]}`. Change"
            " `evaluation.neural_metrics.comet.source`, or remove `evaluation.neural_metrics.comet`"
        )


def _read_source_table(path: Path) -> dict[str, str]:
    """Read a table of source texts, clip id → text.

    Raises:
        InputError: If the table or one of its columns is missing, or a row cannot be read.
    """
    table = read_table(path, path.name)
    columns = list(table.header)
    if table.errors or not {"id", "source"} <= set(columns):
        reason = f"{table.errors[0][0]} {table.errors[0][1]}" if table.errors else ""
        raise InputError(
            f"`evaluation.neural_metrics.comet.source_table` is `{path}`, which is not a"
            f" tab-separated table with the columns `id` and `source` {reason}".rstrip()
        )
    rows = (dict(zip(columns, row.fields, strict=True)) for row in table.rows)
    return {row["id"]: row["source"] for row in rows}
