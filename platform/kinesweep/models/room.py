"""Room: what is kept of each stream where a language model has a limit of positions.

Where prompt, frames and text share the positions, what is too long has to lose something. Cut on
the right, as tokenizers do, it would lose the text: a model that is trained on clips without an
answer. Here the text's room is reserved first, the prompt is whole, and the streams lose their
ends, each the same share of its length, so streams of one clip stop at the same moment. The reserve
is one number (`model.reserve_tokens`), not each text's length: training and generation keep the
same of a clip, and a clip keeps the same in any batch.

Shapes: B clips, N vectors of a stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinesweep.core.errors import ConfigError, InputError


@dataclass
class Cut:
    """How many clips of a stream lost their end so far, and how many vectors that were."""

    clips: int = 0
    vectors: int = 0


def kept_vectors(
    lengths: Sequence[int], others: int, reserve: int, limit: int, clip: str
) -> list[int]:
    """Vectors that each stream of a clip keeps, from its beginning.

    Every stream that has some keeps one; of what is left, each keeps the same share, rounded so
    that all room is used.

    Args:
        lengths: vectors of each stream, as its encoder gives them.
        others: vectors of the prompt, of what follows the frames, of the end and of separators.
        reserve: positions that are left to the text.
        limit: positions in all.
        clip: names it.

    Raises:
        InputError: no room is left for one vector of each stream.
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
    # What rounding left goes to those who lost most by it; the first of equals.
    order = sorted(range(len(more)), key=lambda place: -(spare * more[place] % whole))
    for place in order[: spare - sum(kept)]:
        kept[place] += 1
    return [first + count for first, count in zip(firsts, kept, strict=True)]


def _no_room(streams: int, others: int, reserve: int, limit: int, clip: str) -> str:
    """Why a clip does not fit."""
    text, way = "", ""
    if reserve:
        text = f", and {reserve} are kept for the text (`model.reserve_tokens`)"
        way = ", or lower `model.reserve_tokens`"
    return (
        f"The prompt of {clip} leaves no room for a vector of each of {streams} streams: with all"
        f" that is not frames it takes {others} of {limit} positions{text}. Shorten the prompt, or"
        f" what is given as context{way}."
    )


@dataclass(frozen=True)
class Positions:
    """How many positions a backbone has for what streams are cut to.

    Attributes:
        limit: of the input; None: any number.
        shared: the text takes of them, too.
    """

    limit: int | None
    shared: bool

    def check_reserve(self, reserve: int | None) -> None:
        """Refuses a reserve where nothing has to be cut, or that is all there is.

        Args:
            reserve: `model.reserve_tokens`.

        Raises:
            ConfigError: as said.
        """
        if reserve is None:
            return
        if self.limit is None:
            problem = "the backbone has no limit of positions, so nothing is cut; leave it out"
        elif self.shared and reserve >= self.limit:
            problem = f"must be below the backbone's {self.limit} positions, but is {reserve}"
        else:
            return
        raise ConfigError("the model", [("model.reserve_tokens", problem)])

    def check_text(self, reserve: int | None, num_tokens: int) -> None:
        """Refuses more tokens than are reserved: the cut would differ, or the text be cut.

        Raises:
            InputError: as said.
        """
        if reserve is not None and self.shared and num_tokens > reserve:
            raise InputError(
                f"A text of {num_tokens} tokens does not fit into `model.reserve_tokens`"
                f" ({reserve}); set it to {num_tokens} or more."
            )


@dataclass(frozen=True)
class Room:
    """The room of a batch's clips; cuts masks and counts.

    Attributes:
        limit: positions in all.
        reserve: of which are left to the text.
        others: vectors of each clip that are no frames.
        clips: names each clip.
        cut: stream → what was cut so far; grows.
    """

    limit: int
    reserve: int
    others: Sequence[int]
    clips: Sequence[str]
    cut: dict[str, Cut]

    def fit(self, masks: Mapping[str, Tensor], added: int) -> dict[str, Tensor]:
        """Masks, bool (B, N), that fit.

        Args:
            masks: stream → which vectors are real, True on the left only.
            added: vectors that come to each clip besides, such as separators.

        Raises:
            InputError: a clip's prompt leaves no room.
        """
        # One transfer, whatever the number of streams.
        lengths_BS = torch.stack([mask.sum(dim=1) for mask in masks.values()], dim=1).tolist()
        kept_BS = [
            kept_vectors(lengths, others + added, self.reserve, self.limit, clip)
            for lengths, others, clip in zip(lengths_BS, self.others, self.clips, strict=True)
        ]
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
        lost = [before - after for before, after in zip(had, kept, strict=True) if before > after]
        if lost:
            count = self.cut.setdefault(stream, Cut())
            count.clips += len(lost)
            count.vectors += sum(lost)
