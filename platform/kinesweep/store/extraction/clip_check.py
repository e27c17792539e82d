"""A check of the clips of a corpus by the computation of an extraction, without writing anything.

Every clip is read, its features are computed and rounded by the `ClipProcessor` that an extraction
uses, and the clips are compared with each other. Poses take about 1 ms a clip. Video features would
take minutes, so videos have a check of their own (`video_check`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.feature_epochs import list_epoch_recipes
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.core.errors import ClipError
from kinesweep.features import build_features
from kinesweep.features.quality.media_statistics import MediaStatistics
from kinesweep.sources import build_source
from kinesweep.store.extraction.clip_processor import ClipProcessor, ProcessedClip, StreamStatus
from kinesweep.store.extraction.stream_agreement import find_disagreeing_clips


@dataclass(frozen=True)
class CheckedClip:
    """A clip that an extraction can store.

    Attributes:
        clip: Metadata of the clip.
        streams: Stream → shape, rate and layout of its features.
        statistics: Statistics of the clip's media; None for media without points.
    """

    clip: Clip
    streams: Mapping[str, StreamStatus]
    statistics: MediaStatistics | None


def check_clips(
    processor: ClipProcessor,
    clips: Sequence[Clip],
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[CheckedClip], list[InvalidRow]]:
    """Compute every clip as an extraction does, and find those that it would drop.

    Args:
        processor: Computation of one clip.
        clips: Clips of all splits, in the order of the corpus.
        progress: Function to call after each clip with the number of clips that were checked and
            the number of all clips.

    Returns:
        The clips that would be stored and those that would be dropped, in the order of the corpus.
    """
    usable_clips: list[CheckedClip] = []
    invalid_rows: dict[str, InvalidRow] = {}
    for num_checked, (clip, outcome) in enumerate(_process_clips(processor, clips), 1):
        if isinstance(outcome, ClipError):
            text = str(outcome)
            invalid_rows[clip.id] = InvalidRow(clip.row, clip.id, outcome.reason, text, clip.split)
        else:
            # The features themselves are released: a corpus need not fit into memory.
            usable_clips.append(CheckedClip(clip, outcome.streams, outcome.statistics))
        if progress is not None:
            progress(num_checked, len(clips))
    disagreeing_rows = find_disagreeing_clips(
        [(checked.clip, checked.streams) for checked in usable_clips], processor.step.streams
    )
    invalid_rows |= {row.clip_id: row for row in disagreeing_rows}
    return (
        [checked for checked in usable_clips if checked.clip.id not in invalid_rows],
        [invalid_rows[clip.id] for clip in clips if clip.id in invalid_rows],
    )


def check_variants(
    recipe: Recipe, checked: Sequence[CheckedClip], dropped: Sequence[InvalidRow]
) -> tuple[list[CheckedClip], list[InvalidRow]]:
    """Check the further variants of training clips as well; a clip needs all of them.

    Args:
        recipe: Recipe of the corpus, whose clips have one variant unless it says otherwise.
        checked: Clips that would be stored, judged by their first variant.
        dropped: Clips that would be dropped.

    Returns:
        The clips that would be stored and those that would be dropped.
    """
    rows = {row.clip_id: row for row in dropped}
    for part in list_epoch_recipes(recipe):
        if part.epoch:
            source = build_source(part.recipe.effective_source)
            step = build_features(part.recipe.single_features)
            processor = ClipProcessor(source, step, recipe.store.dtype)
            for row in check_clips(processor, source.list_clips("train"))[1]:
                rows.setdefault(row.clip_id, row)
    return [item for item in checked if item.clip.id not in rows], list(rows.values())


def _process_clips(
    processor: ClipProcessor, clips: Sequence[Clip]
) -> Iterator[tuple[Clip, ProcessedClip | ClipError]]:
    """Yield each clip with its computed features, or with the error for which it is dropped.

    Args:
        processor: Computation of one clip.
        clips: Clips of all splits.
    """
    # The scan of an extraction drops clips whose part of a shared file has no digest.
    digests = processor.source.compute_digests(clips)
    for clip in clips:
        digest = digests.get(clip)
        if isinstance(digest, ClipError):
            yield clip, digest
            continue
        try:
            yield clip, processor(clip)
        except ClipError as error:
            yield clip, error
