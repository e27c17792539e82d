"""Check that clips and their reference motions have equal lengths, before the first step.

A pair of different lengths would end a run only when its batch is reached: hours after the start,
or when the test split is scored. The lengths of all clips of all splits are therefore compared
first, from the index alone (a million clips per second), without reading features. Whether frame t
corresponds to frame t depends on the alignment and cannot be checked here.
"""

import logging

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model.motion_reference import MotionReferenceConfig
from kinesweep.core.errors import InputError
from kinesweep.data.length_limits import truncate_lengths
from kinesweep.store.format.reader import Store

_LOG = logging.getLogger(__name__)


def check_reference_lengths(
    reference: MotionReferenceConfig, batch_config: BatchConfig, store: Store
) -> None:
    """Check that every clip of every split has as many frames as its reference motion.

    Logs a warning if the features contain no reference motions at all.

    Args:
        reference: The two feature streams that the model compares (`model.reference`).
        batch_config: The effective `batch` section, whose limits truncate the streams.
        store: Feature store.

    Raises:
        InputError: If a length differs; names the first such clip, the number of such clips and a
            remedy.
    """
    stream, reference_stream = reference.stream, reference.against
    if reference_stream not in store.schema.streams:
        _LOG.warning(
            "the features have no stream `%s` (`model.reference.against`), so each clip is its own"
            " reference. This is intended in a first stage that trains on captions only.",
            reference_stream,
        )
        return
    num_different, num_clips, first_difference = 0, 0, ""
    for record in (record for split in store.splits for record in store.get_records(split)):
        # Compare the lengths after truncation, because these are the frames that the model reads.
        num_frames = truncate_lengths(record.lengths, batch_config)
        num_clips += 1
        if num_frames[stream] != num_frames[reference_stream]:
            num_different += 1
            first_difference = first_difference or (
                f"clip `{record.clip.id}` has {num_frames[stream]} frames of `{stream}`, but"
                f" {num_frames[reference_stream]} of `{reference_stream}`"
            )
    if num_different:
        raise InputError(
            f"{first_difference}; {num_different} of {num_clips} clips have such differences."
            " `model.reference` needs equal numbers of frames: align the references during feature"
            " extraction, and set the same `batch.truncate_frames` for both streams."
        )
