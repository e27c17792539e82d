"""Clips and their references, held against each other before a run's first step.

A pair that is not in step ends a run when its batch comes: hours in, or when test is scored. So the
lengths of all clips of all splits are compared first, from the index alone (a million clips a
second); no features are read. That frame t belongs to frame t is the alignment's work, and cannot
be seen here.
"""

import logging

from kinesweep.batches.limits import kept_frames
from kinesweep.core.errors import InputError
from kinesweep.core.recipe import Recipe
from kinesweep.store.reader import Store

_LOG = logging.getLogger(__name__)


def check_pairs(recipe: Recipe, store: Store) -> None:
    """Refuses clips that are longer or shorter than their references; says where there are none.

    Raises:
        InputError: the first such clip, how many there are, and what to do.
    """
    reference = recipe.staged_model.reference
    if reference is None:
        return
    stream, against = reference.stream, reference.against
    if against not in store.schema.streams:
        _LOG.warning(
            "the features have no stream `%s` (`model.reference.against`): each clip is its own"
            " reference, as it should be where captions are learnt before references are.",
            against,
        )
        return
    apart, total, first = 0, 0, ""
    for record in (record for split in store.splits for record in store.records(split)):
        kept = kept_frames(record.lengths, recipe.taken_batch)
        total += 1
        if kept[stream] != kept[against]:
            apart += 1
            first = first or (
                f"clip `{record.clip.id}` has {kept[stream]} frames of `{stream}`, but"
                f" {kept[against]} of `{against}`"
            )
    if apart:
        raise InputError(
            f"{first}; so have {apart} of {total} clips. `model.reference` needs as many of both,"
            " frame by frame: align references when features are made, and give both the same"
            " `batch.max_stream_frames`."
        )
