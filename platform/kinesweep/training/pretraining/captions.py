"""The texts of a pretraining run: their tokenizer, what is checked, and what is counted."""

from collections.abc import Sequence

from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objective_kinds import AnyObjective
from kinesweep.data.windows.captions import (
    CaptionTokenizer,
    build_caption_tokenizer,
    check_captions,
)
from kinesweep.store.format.index import ClipRecord


def build_captions(
    config: AnyObjective, train: Sequence[ClipRecord], validation: Sequence[ClipRecord]
) -> CaptionTokenizer | None:
    """Build the tokenizer of an objective that reads texts, and check that all clips have one.

    Args:
        config: The recipe's `objective` section.
        train: Training clips.
        validation: Validation clips.

    Returns:
        The tokenizer; None for an objective without texts.

    Raises:
        InputError: If a clip has no text, or the tokenizer cannot be built.
    """
    if not isinstance(config, ClipConfig):
        return None
    # Before the tokenizer is trained, whose errors would be about missing words.
    check_captions(train, "train")
    check_captions(validation, "validation")
    text = config.text
    return build_caption_tokenizer(
        text.tokenizer, train, text.pretrained, text.revision, text.max_tokens
    )


def count_limited(
    num_clips: int, used: Sequence[ClipRecord], captions: CaptionTokenizer | None
) -> dict[str, int]:
    """Count the effects of length limits on the training clips: name → number, without zeros.

    Args:
        num_clips: Number of training clips of the store.
        used: Clips that are long enough.
        captions: Tokenizer of the texts; None for an objective without texts.

    Returns:
        `too_short`: clips below `batch.min_clip_frames`; `cut_texts`: texts of more than
        `objective.text.max_tokens` tokens.
    """
    texts = [text for record in used for text in record.clip.texts]
    counts = {
        "too_short": num_clips - len(used),
        "cut_texts": 0 if captions is None else captions.count_cut(texts),
    }
    # Zeros are left out, so that a result lists only limits that had an effect.
    return {name: count for name, count in counts.items() if count}
