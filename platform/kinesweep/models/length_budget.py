"""The length budget: truncates streams to fit a language model with a limited number of positions.

If prompt, frames and text share the positions, an input that is too long has to be truncated.
Truncating on the right, as tokenizers do, would remove the text: the model would be trained on
clips without an answer. Here positions for the text are reserved first, the prompt is kept whole,
and every stream loses the same share at its end, so the streams of a clip stop at the same moment.
The reserve is one number (`model.reserved_text_tokens`) rather than each text's length: training
and generation keep the same part of a clip, and the part does not depend on the batch.

Shapes: B clips, N vectors of a stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinesweep.core.errors import ConfigError, InputError


@dataclass
class TruncationStats:
    """Number of clips of a stream that were truncated so far, and number of vectors removed."""

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
    order = sorted(
        range(len(remaining)), key=lambda place: -(num_spare * remaining[place] % total_remaining)
    )
    for index in order[: num_spare - sum(extra)]:
        extra[index] += 1
    return [first + count for first, count in zip(minimums, extra, strict=True)]


def _format_no_room_error(
    num_streams: int, num_other_vectors: int, num_reserved: int, max_positions: int, clip_name: str
) -> str:
    """Format the error message for a clip that does not fit."""
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
    """The position limit of a backbone, to which streams have to be truncated.

    Attributes:
        limit: Number of positions for the input; None: unlimited.
        shared: Whether the text uses the same positions.
    """

    limit: int | None
    shared: bool

    def check_reserve(self, reserve: int | None) -> None:
        """Check that a reserve is useful and leaves room for an input.

        Args:
            reserve: `model.reserved_text_tokens`.

        Raises:
            ConfigError: If the backbone has no limit, or the reserve takes all positions.
        """
        if reserve is None:
            return
        if self.limit is None:
            problem = "the backbone has no position limit, so nothing is truncated; remove it"
        elif self.shared and reserve >= self.limit:
            problem = f"must be below the backbone's {self.limit} positions, but is {reserve}"
        else:
            return
        raise ConfigError("the model", [("model.reserved_text_tokens", problem)])

    def check_text_length(self, reserve: int | None, num_tokens: int) -> None:
        """Check that a text is not longer than the reserve.

        A longer text would need another truncation in training than in generation, or would
        itself be truncated.

        Raises:
            InputError: If it is longer.
        """
        if reserve is not None and self.shared and num_tokens > reserve:
            raise InputError(
                f"A text of {num_tokens} tokens does not fit into `model.reserved_text_tokens`"
                f" ({reserve}); set it to {num_tokens} or more."
            )


@dataclass(frozen=True)
class LengthBudget:
    """The length budget of a batch; truncates masks and counts what was removed.

    Attributes:
        limit: Number of positions.
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

    def truncate_masks(self, masks: Mapping[str, Tensor], num_added: int) -> dict[str, Tensor]:
        """Truncate masks, bool (B, N), to the budget.

        Args:
            masks: Stream → mask, True on the left only.
            num_added: Vectors that fusion adds to each clip, such as separators.

        Returns:
            Stream → truncated mask.

        Raises:
            InputError: If a clip's prompt leaves no room for frames.
        """
        # Stack first: one transfer from the GPU, regardless of the number of streams.
        lengths_BS = torch.stack([mask.sum(dim=1) for mask in masks.values()], dim=1).tolist()
        kept_lengths_BS = [
            compute_truncated_lengths(
                lengths, num_others + num_added, self.reserve, self.limit, clip_name
            )
            for lengths, num_others, clip_name in zip(
                lengths_BS, self.num_other_vectors, self.clip_names, strict=True
            )
        ]
        # The usual case; tensors are created only if something is truncated.
        if kept_lengths_BS == lengths_BS:
            return dict(masks)
        truncated = {}
        for index, (name, mask_BN) in enumerate(masks.items()):
            kept_lengths_B = [kept_lengths_S[index] for kept_lengths_S in kept_lengths_BS]
            self._update_truncation_stats(
                name, [lengths[index] for lengths in lengths_BS], kept_lengths_B
            )
            kept_lengths_B1 = torch.tensor(kept_lengths_B, device=mask_BN.device)[:, None]
            positions_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
            truncated[name] = mask_BN & (positions_N < kept_lengths_B1)
        return truncated

    def _update_truncation_stats(
        self, stream: str, lengths_before: Sequence[int], lengths_after: Sequence[int]
    ) -> None:
        """Add the truncated clips and removed vectors of a batch to the statistics of a stream."""
        num_removed = [
            before - after
            for before, after in zip(lengths_before, lengths_after, strict=True)
            if before > after
        ]
        if num_removed:
            count = self.truncation_stats.setdefault(stream, TruncationStats())
            count.clips += len(num_removed)
            count.vectors += sum(num_removed)
