"""Check that clips and their references have equal lengths, before the first step of a run.

A pair of different lengths would end a run when its batch comes: hours after the start, or when
test is scored. The lengths of all clips of all splits are therefore compared first, from the index
alone (a million clips per second), without reading features. Whether frame t corresponds to frame t
depends on the alignment and cannot be checked here.
"""

import logging

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.data.length_limits import kept_frames
from kinesweep.store.format.reader import Store

_LOG = logging.getLogger(__name__)


def check_pairs(recipe: Recipe, store: Store) -> None:
    """Refuse clips whose length differs from that of their reference.

    Logs a warning if the features contain no references at all.

    Args:
        recipe: Recipe of the run.
        store: Feature store.

    Raises:
        InputError: If a clip differs; names the first one, the number of such clips and a remedy.
    """
    reference = recipe.effective_model.reference
    if reference is None:
        return
    stream, against = reference.stream, reference.against
    if against not in store.schema.streams:
        _LOG.warning(
            "the features have no stream `%s` (`model.reference.against`), so each clip is its own"
            " reference. This is intended in a first stage that trains on captions only.",
            against,
        )
        return
    apart, total, first = 0, 0, ""
    for record in (record for split in store.splits for record in store.records(split)):
        # Compare the lengths after truncation, because these are the frames that the model reads.
        kept = kept_frames(record.lengths, recipe.effective_batch)
        total += 1
        if kept[stream] != kept[against]:
            apart += 1
            first = first or (
                f"clip `{record.clip.id}` has {kept[stream]} frames of `{stream}`, but"
                f" {kept[against]} of `{against}`"
            )
    if apart:
        raise InputError(
            f"{first}; {apart} of {total} clips have such differences. `model.reference` needs"
            " equal numbers of frames: align the references during feature extraction, and set"
            " the same `batch.truncate_frames` for both streams."
        )
