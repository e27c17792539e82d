"""Restrictions on generated texts: a smallest length, and penalties on repetition.

Hugging Face applies its restrictions to all tokens of a row. Here they apply to the text alone: an
encoder-decoder's start token, which for M2M-100 is also the end of sentence, is not a repetition,
and the tokens of a forced prompt do not count for the length.

Shapes: B clips, K beams, F forced tokens, V vocabulary, L tokens generated so far.
"""

from torch import Tensor
from transformers import LogitsProcessor


class MinTextLengthLogitsProcessor(LogitsProcessor):
    """A logits processor that forbids the end of sentence until the text is long enough.

    The beams of one clip are adjacent rows, so row r belongs to clip r // K.

    Args:
        min_tokens: Smallest number of tokens after the forced prompt and before the end.
        eos_id: Id of the end of sentence.
        num_before: Tokens of a row that precede its prompt, such as an encoder-decoder's start
            token.
        forced_mask_BF: Mask of the forced prompts; None: no text is forced.
    """

    def __init__(
        self, min_tokens: int, eos_id: int, num_before: int, forced_mask_BF: Tensor | None
    ) -> None:
        self._min_tokens, self._eos_id, self._num_before = min_tokens, eos_id, num_before
        self._num_forced_B = None if forced_mask_BF is None else forced_mask_BF.sum(dim=1)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Set the score of the end of sentence to minus infinity in rows that are too short."""
        num_tokens = input_ids.shape[1] - self._num_before
        if self._num_forced_B is None:
            is_short_R = scores.new_full(scores.shape[:1], num_tokens) < self._min_tokens
        else:
            # The batch has B * K rows in beam search; K is not passed to a processor.
            num_beams = scores.shape[0] // self._num_forced_B.shape[0]
            num_forced_R = self._num_forced_B.repeat_interleave(num_beams)
            is_short_R = num_tokens - num_forced_R < self._min_tokens
        # A copy, as in Hugging Face's processors: the caller may still need the scores.
        scores = scores.clone()
        scores[is_short_R, self._eos_id] = float("-inf")
        return scores


class TextOnlyLogitsProcessor(LogitsProcessor):
    """A logits processor that hides the tokens before the text from another processor.

    Args:
        processor: Processor that reads the tokens of a text.
        num_before: Number of tokens of a row that precede the text.
    """

    def __init__(self, processor: LogitsProcessor, num_before: int) -> None:
        self._processor, self._num_before = processor, num_before

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Apply the processor; the first step, without a text yet, changes nothing."""
        text_ids = input_ids[:, self._num_before :]
        # Nothing can be repeated yet.
        if not text_ids.shape[1]:
            return scores
        processed: Tensor = self._processor(text_ids, scores)
        return processed
