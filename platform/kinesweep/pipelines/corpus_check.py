"""A check of a corpus before extraction: everything that an extraction would drop or refuse.

Each clip passes through the computation of the extraction, so what passes the check can be
extracted. All findings are collected in one run: malformed tables, invalid rows, what the limits of
the store do not allow, warnings, detection rates and overlap between splits. Nothing is written or
logged. Ray is not loaded, and PyTorch is not either, because video features are not computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.config.recipe.sources.part_sources import find_part_corpora
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import Clip, CorpusWarning, InvalidRow
from kinesweep.core.html_table import format_html_table
from kinesweep.features import build_features
from kinesweep.features.quality.corpus_findings import (
    find_quality_warnings,
    format_warning_lines,
)
from kinesweep.features.quality.rate_warnings import find_rate_warnings
from kinesweep.features.quality.split_quality import (
    SplitQuality,
    build_quality_rows,
    compute_quality,
)
from kinesweep.sources import Source, build_source
from kinesweep.sources.splitting.split_overlap import OverlapReport, compute_clip_overlaps
from kinesweep.store.combined.clip_join import (
    ListedPart,
    find_dropped_rows,
    list_corpus,
)
from kinesweep.store.extraction.clip_check import CheckedClip, check_clips, check_variants
from kinesweep.store.extraction.clip_processor import ClipProcessor
from kinesweep.store.extraction.drop_policy import find_policy_violations

_VIDEO_NOTE = (
    "video features were not computed: every video was opened, its first frame decoded and its"
    " other frames counted; damage inside of a frame is found by `check --decode` and `extract`"
)
_DECODED_VIDEO_NOTE = (
    "video features were not computed: every frame of every clip was decoded, but the video model"
    " was not run"
)

_DECODED_FRAMES_NOTE = "every frame of every clip was decoded, but not scaled or resampled"
_IMAGE_NOTE = (
    "image vectors were not computed: every image was read or drawn, but the image model was not"
    " run"
)


@dataclass(frozen=True)
class CorpusCheck:
    """The result of a corpus check.

    Attributes:
        problems: Rows that `extract` would drop and count, with their reasons.
        overlaps: Sentences, documents and signers that several splits contain.
        table_errors: Malformed rows, because of which `extract` would refuse the corpus.
        violations: Limits of the store that the invalid rows exceed, so that `extract` would stop.
        warnings: Findings that do not make a row unusable.
        quality: Split → detection rates and frame rates of its poses; empty for other media.
        not_checked: Explanation of what `extract` computes and the check does not; empty if the
            check is complete.
        clips: Clips that `extract` would store.
    """

    problems: list[InvalidRow]
    overlaps: OverlapReport
    table_errors: list[InvalidRow] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    warnings: list[CorpusWarning] = field(default_factory=list)
    quality: dict[str, SplitQuality] = field(default_factory=dict)
    not_checked: str = ""
    clips: list[Clip] = field(default_factory=list)

    @property
    def invalid_rows(self) -> list[InvalidRow]:
        """Return the malformed rows, followed by the rows that `extract` would drop."""
        return [*self.table_errors, *self.problems]

    def describe_invalid_rows(self) -> str:
        """Describe in a sentence how many rows are invalid and what `extract` does with them."""
        counts = f"{len(self.invalid_rows)} rows are invalid (listed above)"
        if not self.table_errors:
            return f"{counts}; `extract` would drop and count them"
        return (
            f"{counts}, {len(self.table_errors)} of them malformed; `extract` refuses a corpus with"
            " malformed rows"
        )

    def format_lines(self) -> list[str]:
        """Format everything that was found as lines of text."""
        lines = [f"{row.row}  {row.reason}  {row.message}" for row in self.invalid_rows]
        lines += [f"`extract` would stop: {violation}" for violation in self.violations]
        lines += format_warning_lines(self.warnings)
        lines += _align_columns(build_quality_rows(self.quality)) if self.quality else []
        lines += [self.not_checked] if self.not_checked else []
        return [*lines, *self.overlaps.format_lines()]

    def to_json(self) -> dict[str, Any]:
        """Convert the result to plain values that JSON can represent."""
        return {
            "problems": [vars(row) for row in self.invalid_rows],
            "violations": self.violations,
            "warnings": [vars(warning) for warning in self.warnings],
            "quality": {split: quality.to_json() for split, quality in self.quality.items()},
            "overlaps": self.overlaps.to_dicts(),
            "not_checked": self.not_checked,
        }

    def _repr_html_(self) -> str:
        """Return everything that was found as HTML tables, which notebooks show."""
        rows = [(row.row, row.reason, row.message) for row in self.invalid_rows]
        findings = [(warning.row, warning.kind, warning.message) for warning in self.warnings]
        quality = build_quality_rows(self.quality) if self.quality else []
        return "".join(
            [
                _format_section(f"{len(rows)} invalid rows", ("row", "reason", "message"), rows),
                *(f"<p>`extract` would stop: {escape(text)}</p>" for text in self.violations),
                _format_section(f"{len(findings)} warnings", ("row", "kind", "message"), findings),
                _format_section("Detection rates", quality[0], quality[1:]) if quality else "",
                f"<p>{self.not_checked}</p>" if self.not_checked else "",
                _format_overlaps(self.overlaps),
            ]
        )


def check_corpus(
    recipe: Recipe,
    progress: Callable[[int, int], object] | None = None,
    decode: bool = False,
) -> CorpusCheck:
    """Check the corpus of a recipe for everything that its extraction would drop or refuse.

    Args:
        recipe: Recipe of the corpus and its features.
        progress: Function to call after each clip with the number of clips that were checked and
            the number of all clips.
        decode: Whether to decode every frame of a video; other media are always read completely.

    Raises:
        InputError: If the features cannot be computed for any clip, for example because an
            embedder is missing.
    """
    if recipe.part_recipes:
        return _check_parts(recipe, progress, decode)
    source = build_source(recipe.effective_source)
    rows = source.read_all_rows()
    features, video_note, image_note = recipe.single_features, "", ""
    if isinstance(features, VideoFeaturesConfig | FramesFeaturesConfig):
        # Loads PyAV, which other corpora do not need.
        from kinesweep.store.extraction.video_check import check_videos

        video_note = _DECODED_VIDEO_NOTE if decode else _VIDEO_NOTE
        if decode and isinstance(features, FramesFeaturesConfig):
            video_note = _DECODED_FRAMES_NOTE
        checked, dropped = check_videos(source, rows.clips, features, decode, progress)
    else:
        if isinstance(features, ImagesFeaturesConfig) and features.encoder is not None:
            # Drawing shows everything that is wrong with a clip, and needs no PyTorch.
            features = features.model_copy(update={"encoder": None})
            image_note = _IMAGE_NOTE
        processor = ClipProcessor(source, build_features(features), recipe.store.dtype)
        checked, dropped = check_clips(processor, rows.clips, progress)
        checked, dropped = check_variants(recipe, checked, dropped)
    problems = [*rows.invalid_rows, *dropped]
    problems.sort(key=lambda row: source.get_row_position(row.row))
    counts = dict.fromkeys(source.list_splits(), 0)
    for item in checked:
        counts[item.clip.split] += 1
    items = [(item.clip, item.statistics) for item in checked if item.statistics is not None]
    return CorpusCheck(
        problems=problems,
        overlaps=compute_clip_overlaps(_group_by_split(source, rows.clips)),
        table_errors=rows.errors,
        violations=find_policy_violations(
            problems, counts, recipe.store.max_dropped_share, recipe.required_splits
        ),
        warnings=[
            *find_quality_warnings(items),
            *_find_rate_differences(checked),
            *(_find_video_doubts(source, checked, features, decode) if video_note else ()),
        ],
        quality=compute_quality(items),
        not_checked=video_note or image_note,
        clips=[item.clip for item in checked],
    )


def _check_parts(
    recipe: Recipe, progress: Callable[[int, int], object] | None, decode: bool
) -> CorpusCheck:
    """Check the corpus for each part of a recipe's features, and what their join would drop.

    Args:
        recipe: Recipe with several parts of features.
        progress: Function to call after each clip of each part.
        decode: Whether to decode every frame of a video.
    """
    checks = {
        part: check_corpus(part_recipe, progress, decode)
        for part, part_recipe in recipe.part_recipes
    }
    parts = [
        ListedPart(
            part.name,
            check.clips,
            find_part_corpora(recipe.source, part),
            defines_corpus=part.source is None,
        )
        for part, check in checks.items()
    ]
    _, problems = find_dropped_rows(parts, [check.problems for check in checks.values()])
    dropped_ids = {row.clip_id for row in problems}
    clips = [clip for clip in list_corpus(parts) if clip.id not in dropped_ids]
    counts = dict.fromkeys(build_source(recipe.effective_source).list_splits(), 0)
    for clip in clips:
        counts[clip.split] += 1
    first = next(iter(checks.values()))
    return CorpusCheck(
        problems=problems,
        overlaps=first.overlaps,
        table_errors=list(dict.fromkeys(row for c in checks.values() for row in c.table_errors)),
        violations=find_policy_violations(
            problems, counts, recipe.store.max_dropped_share, recipe.required_splits
        ),
        warnings=list(dict.fromkeys(item for c in checks.values() for item in c.warnings)),
        quality=next((c.quality for c in checks.values() if c.quality), {}),
        not_checked="; ".join(
            dict.fromkeys(c.not_checked for c in checks.values() if c.not_checked)
        ),
        clips=clips,
    )


def _group_by_split(source: Source, clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Group clips by split, in the order of the splits; a split without clips has an empty list."""
    groups: dict[str, list[Clip]] = {split: [] for split in source.list_splits()}
    for clip in clips:
        groups[clip.split].append(clip)
    return groups


def _find_rate_differences(checked: Sequence[CheckedClip]) -> list[CorpusWarning]:
    """Find streams whose clips differ in the rate of their features."""
    streams = checked[0].streams if checked else {}
    return [
        warning
        for name, stream in streams.items()
        for warning in find_rate_warnings(
            {item.clip.id: item.streams[name].rate_hz for item in checked},
            name,
            can_resample=stream.layout is not None,
        )
    ]


def _find_video_doubts(
    source: Source, checked: Sequence[CheckedClip], features: object, decode: bool
) -> list[CorpusWarning]:
    """Find doubts about rates and signers in videos; detectors run only if `decode` is set."""
    # Loads PyAV, which other corpora do not need.
    from kinesweep.features.signer_crop.warnings import find_checked_warnings

    return find_checked_warnings(source, [item.clip for item in checked], features, decode)


def _align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format the rows of a table as lines of text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _format_section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a title and, if it has rows, a table as HTML."""
    return f"<p><b>{title}</b></p>{format_html_table(header, rows) if rows else ''}"


def _format_overlaps(overlaps: OverlapReport) -> str:
    """Format the overlaps between splits as HTML."""
    header, *rows = overlaps.build_table_rows()
    return f"<p><b>Overlap between splits</b></p>{format_html_table(header, rows)}"
