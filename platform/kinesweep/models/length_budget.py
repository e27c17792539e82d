"""The length budget: truncates streams to fit a language model with a limited number of positions.

If prompt, frames and text share the positions, an input that is too long has to lose something.
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


def kept_vectors(
    lengths: Sequence[int], others: int, reserve: int, limit: int, clip: str
) -> list[int]:
    """Return how many vectors each stream of a clip keeps, counted from its start.

    Every non-empty stream keeps one vector. Of the remaining vectors each stream keeps the same
    share, rounded so that all positions are used.

    Args:
        lengths: Vectors of each stream, after its encoder.
        others: Vectors of the prompt, the text after the frames, the end token and separators.
        reserve: Positions reserved for the text.
        limit: Number of positions.
        clip: Name of the clip, for the error message.

    Raises:
        InputError: If there is no room for one vector of each stream.
    """
    room = limit - reserve - others
    if sum(lengths) <= room:
        return list(lengths)
    firsts = [min(1, length) for length in lengths]
    spare = room - sum(firsts)
    if spare < 0:
        raise InputError(_no_room(sum(firsts), others, reserve, limit, clip))
    more = [length - first for length, first in zip(lengths, firsts, strict=True)]
    whole = sum(more)
    kept = [spare * count // whole for count in more]
    # Largest remainder method: positions left by rounding go to the streams that lost most by it,
    # the first one in a tie.
    order = sorted(range(len(more)), key=lambda place: -(spare * more[place] % whole))
    for place in order[: spare - sum(kept)]:
        kept[place] += 1
    return [first + count for first, count in zip(firsts, kept, strict=True)]


def _no_room(streams: int, others: int, reserve: int, limit: int, clip: str) -> str:
    """Return the message for a clip that does not fit."""
    text, way = "", ""
    if reserve:
        text = f", and {reserve} are reserved for the text (`model.reserved_text_tokens`)"
        way = ", or lower `model.reserved_text_tokens`"
    return (
        f"The prompt of {clip} leaves no room for one vector of each of {streams} streams:"
        f" everything besides frames takes {others} of {limit} positions{text}. Shorten the prompt"
        f" or the context{way}."
    )


@dataclass(frozen=True)
class Positions:
    """The positions of a backbone to which streams have to be truncated.

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

    def check_text(self, reserve: int | None, num_tokens: int) -> None:
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
        others: Vectors of each clip that are not frames.
        clips: Name of each clip, for error messages.
        truncation_stats: Stream → running count of truncated clips and removed vectors; it is
            updated.
    """

    limit: int
    reserve: int
    others: Sequence[int]
    clips: Sequence[str]
    truncation_stats: dict[str, TruncationStats]

    def fit(self, masks: Mapping[str, Tensor], added: int) -> dict[str, Tensor]:
        """Truncate masks, bool (B, N), to the budget.

        Args:
            masks: Stream → mask, True on the left only.
            added: Vectors that fusion adds to each clip, such as separators.

        Returns:
            Stream → truncated mask.

        Raises:
            InputError: If a clip's prompt leaves no room for frames.
        """
        # Stack first: one transfer from the GPU, regardless of the number of streams.
        lengths_BS = torch.stack([mask.sum(dim=1) for mask in masks.values()], dim=1).tolist()
        kept_BS = [
            kept_vectors(lengths, others + added, self.reserve, self.limit, clip)
            for lengths, others, clip in zip(lengths_BS, self.others, self.clips, strict=True)
        ]
        # The usual case; tensors are created only if something is truncated.
        if kept_BS == lengths_BS:
            return dict(masks)
        fitting = {}
        for place, (name, mask_BN) in enumerate(masks.items()):
            kept_B = [kept[place] for kept in kept_BS]
            self._count(name, [lengths[place] for lengths in lengths_BS], kept_B)
            kept_B1 = torch.tensor(kept_B, device=mask_BN.device)[:, None]
            places_N = torch.arange(mask_BN.shape[1], device=mask_BN.device)
            fitting[name] = mask_BN & (places_N < kept_B1)
        return fitting

    def _count(self, stream: str, had: Sequence[int], kept: Sequence[int]) -> None:
        """Add a batch to the count of a stream."""
        lost = [before - after for before, after in zip(had, kept, strict=True) if before > after]
        if lost:
            count = self.truncation_stats.setdefault(stream, TruncationStats())
            count.clips += len(lost)
            count.vectors += sum(lost)
