"""The length budget: truncates streams to fit a language model with a limited number of positions.

If prompt, frames and text share the positions, an input that is too long has to be truncated.
Truncating on the right, as tokenizers do, would remove the text: the model would be trained on
clips without an answer. Here positions for the text are reserved first, the prompt is kept whole,
and every stream loses the same share at its end, so the streams of a clip stop at the same moment.
The reserve is one number (`model.reserved_text_tokens`) rather than each text's length: training
and generation keep the same part of a clip, and the part does not depend on the batch.

Shapes: B clips, S streams, N vectors of a stream, W text tokens around the frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinesweep.core.batch import copy_to_device
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.models.fusion import TruncateMasks, VectorCounts


@dataclass
class TruncationStats:
    """The truncation of one stream since the model was created.

    Attributes:
        clips: Number of clips in which the stream was truncated.
        vectors: Number of vectors that were removed from these clips.
    """

    clips: int = 0
    vectors: int = 0


def compute_truncated_lengths(
    lengths: Sequence[int],
    num_other_vectors: int,
    num_reserved: int,
    max_positions: int,
    clip_name: str,
) -> list[int]:
    """Compute how many vectors each stream of a clip keeps after truncation at its end.

    Every non-empty stream keeps one vector. Of the remaining vectors each stream keeps the same
    share, rounded so that all positions are used.

    Args:
        lengths: Vectors of each stream, after its encoder.
        num_other_vectors: Vectors of the prompt, the text after the frames, the end token and
            separators.
        num_reserved: Positions reserved for the text.
        max_positions: Number of positions of the backbone.
        clip_name: Name of the clip, for the error message.

    Raises:
        InputError: If there is no room for one vector of each stream.
    """
    num_available = max_positions - num_reserved - num_other_vectors
    if sum(lengths) <= num_available:
        return list(lengths)
    minimums = [min(1, length) for length in lengths]
    num_spare = num_available - sum(minimums)
    if num_spare < 0:
        raise InputError(
            _format_no_room_error(
                sum(minimums), num_other_vectors, num_reserved, max_positions, clip_name
            )
        )
    remaining = [length - minimum for length, minimum in zip(lengths, minimums, strict=True)]
    total_remaining = sum(remaining)
    extra = [num_spare * count // total_remaining for count in remaining]
    # Largest remainder method: positions left over by rounding go to the streams with the largest
    # remainders, the first one in a tie.
    streams_by_remainder = sorted(
        range(len(remaining)), key=lambda index: -(num_spare * remaining[index] % total_remaining)
    )
    for index in streams_by_remainder[: num_spare - sum(extra)]:
        extra[index] += 1
    return [minimum + count for minimum, count in zip(minimums, extra, strict=True)]


def _format_no_room_error(
    num_streams: int, num_other_vectors: int, num_reserved: int, max_positions: int, clip_name: str
) -> str:
    """Format the error message for a clip whose prompt leaves no room for its streams."""
    reserve_text, remedy = "", ""
    if num_reserved:
        reserve_text = (
            f", and {num_reserved} are reserved for the text (`model.reserved_text_tokens`)"
        )
        remedy = ", or lower `model.reserved_text_tokens`"
    return (
        f"The prompt of {clip_name} leaves no room for one vector of each of {num_streams} streams:"
        f" everything besides frames takes {num_other_vectors} of {max_positions}"
        f" positions{reserve_text}. Shorten the prompt"
        f" or the context{remedy}."
    )


@dataclass(frozen=True)
class PositionLimit:
    """The number of positions of a backbone, which the input must not exceed.

    Attributes:
        limit: Number of positions for the input; None: unlimited.
        shared_with_text: Whether the text takes up positions of the input, as in a causal backbone.
    """

    limit: int | None
    shared_with_text: bool

    def check_reserve(self, reserve: int | None) -> None:
        """Check that reserving positions has an effect and leaves positions for the input.

        Args:
            reserve: Value of `model.reserved_text_tokens`; None: nothing is reserved.

        Raises:
            ConfigError: If the backbone has no limit, or the reserve takes all positions.
        """
        if reserve is None:
            return
        if self.limit is None:
            problem = "the backbone has no position limit, so nothing is truncated; remove it"
        elif self.shared_with_text and reserve >= self.limit:
            problem = f"must be below the backbone's {self.limit} positions, but is {reserve}"
        else:
            return
        raise ConfigError("the model", [("model.reserved_text_tokens", problem)])

    def check_text_length(self, reserve: int | None, num_tokens: int) -> None:
        """Check that a text fits into the reserved positions, if it takes up any.

        A longer text would need another truncation in training than in generation, or would
        itself be truncated.

        Args:
            reserve: Value of `model.reserved_text_tokens`; None: nothing is reserved.
            num_tokens: Number of tokens of the text.

        Raises:
            InputError: If the text is longer than the reserve.
        """
        if reserve is not None and self.shared_with_text and num_tokens > reserve:
            raise InputError(
                f"A text of {num_tokens} tokens does not fit into `model.reserved_text_tokens`"
                f" ({reserve}); set it to {num_tokens} or more."
            )


@dataclass(frozen=True)
class LengthBudget:
    """The length budget of a batch; truncates masks and counts what was removed.

    Attributes:
        limit: Number of positions of the backbone.
        reserve: Positions reserved for the text.
        num_other_vectors: Vectors of each clip that are not frames.
        clip_names: Name of each clip, for error messages.
        truncation_stats: Stream → running count of truncated clips and removed vectors; it is
            updated.
    """

    limit: int
    reserve: int
    num_other_vectors: Sequence[int]
    clip_names: Sequence[str]
    truncation_stats: dict[str, TruncationStats]

    def truncate_masks(
        self, masks: Mapping[str, Tensor], counts: VectorCounts, num_added_per_stream: int
    ) -> tuple[dict[str, Tensor], VectorCounts]:
        """Truncate the masks of all streams to the budget and count what was removed.

        Args:
            masks: Stream → mask, bool (B, N), True on the left only.
            counts: Stream → number of vectors of each clip.
            num_added_per_stream: Vectors that fusion adds to each stream that a clip has, such as
                its separator.

        Returns:
            Stream → truncated mask, bool (B, N), and stream → number of vectors that are left.

        Raises:
            InputError: If a clip's prompt leaves no room for frames.
        """
        lengths_BS = [list(clip_counts) for clip_counts in zip(*counts.values(), strict=True)]
        kept_lengths_BS = [
            compute_truncated_lengths(
                lengths,
                num_others + num_added_per_stream * sum(map(bool, lengths)),
                self.reserve,
                self.limit,
                clip_name,
            )
            for lengths, num_others, clip_name in zip(
                lengths_BS, self.num_other_vectors, self.clip_names, strict=True
            )
        ]
        # The usual case; tensors are created only if something is truncated.
        if kept_lengths_BS == lengths_BS:
            return dict(masks), counts
        truncated, kept_counts = {}, {}
        for index, (name, mask_BN) in enumerate(masks.items()):
            kept_lengths_B = [kept_lengths_S[index] for kept_lengths_S in kept_lengths_BS]
            self._update_truncation_stats(
                name, [lengths[index] for lengths in lengths_BS], kept_lengths_B
            )
            kept_counts[name] = kept_lengths_B
            kept_lengths_B1 = copy_to_device(torch.tensor(kept_lengths_B), mask_BN.device)[:, None]
            positions_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
            truncated[name] = mask_BN & (positions_N < kept_lengths_B1)
        return truncated, kept_counts

    def _update_truncation_stats(
        self, stream: str, lengths_before: Sequence[int], lengths_after: Sequence[int]
    ) -> None:
        """Add the truncated clips and removed vectors of a batch to the statistics of a stream.

        Args:
            stream: Name of the stream.
            lengths_before: Vectors of the stream in each clip, before truncation.
            lengths_after: Vectors of the stream in each clip, after truncation.
        """
        num_removed = [
            before - after
            for before, after in zip(lengths_before, lengths_after, strict=True)
            if before > after
        ]
        if num_removed:
            stats = self.truncation_stats.setdefault(stream, TruncationStats())
            stats.clips += len(num_removed)
            stats.vectors += sum(num_removed)


def create_mask_truncator(
    position_limit: PositionLimit,
    reserve: int | None,
    num_text_tokens: Sequence[int],
    clip_ids: Sequence[str] | None,
    truncation_stats: dict[str, TruncationStats],
) -> TruncateMasks:
    """Create the function that truncates the frames of a batch to leave room for its text.

    The function returns masks unchanged if the backbone has no limit or nothing is reserved.

    Args:
        position_limit: Number of positions of the backbone.
        reserve: Value of `model.reserved_text_tokens`; None: nothing is truncated.
        num_text_tokens: Number of tokens around the frames of each clip: prompt, suffix and end.
        clip_ids: Names of the clips, for error messages; None: rows are numbered.
        truncation_stats: Stream → running count of truncated clips and removed vectors; it is
            updated whenever the function is called.
    """
    if reserve is None or position_limit.limit is None:
        return lambda masks, counts, _: (masks, counts)
    names = clip_ids or [f"row {row}" for row in range(len(num_text_tokens))]
    return LengthBudget(
        limit=position_limit.limit,
        # Without shared positions the text needs no room in the input.
        reserve=reserve if position_limit.shared_with_text else 0,
        num_other_vectors=num_text_tokens,
        clip_names=[f"clip `{name}`" for name in names],
        truncation_stats=truncation_stats,
    ).truncate_masks
