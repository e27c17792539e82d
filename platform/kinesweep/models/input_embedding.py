"""The language model's input: prompt, frames, the text after them and the end token of each clip.

The text around the frames is embedded in one call and then split again, so the frames can be
inserted between prompt and suffix. The end token has a position in every row; for a backbone that
does not read one, its mask switches it off. Training, generation and attention maps share this
code.

Shapes: B clips, P prompt tokens, A suffix tokens (after the frames), W = P + A + 1 text tokens,
N vectors, E width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kinesweep.core.batch import BatchLayout
from kinesweep.models.fusion import FusedVectors, concat_unpadded

MaskedTokens = tuple[Tensor, Tensor]
"""Token ids, int64 (B, n), and their mask, bool (B, n), True for real tokens."""


class InputVectors(NamedTuple):
    """The input of the language model.

    Attributes:
        x_BNE: Vectors, zero where padded.
        mask_BN: Mask, bool, True on the left only.
        counts: Number of vectors of each clip, on the host.
    """

    x_BNE: Tensor
    mask_BN: Tensor
    counts: list[int]


@dataclass(frozen=True)
class InputText:
    """The text around the frames of a batch: everything in the input that is not a frame.

    Attributes:
        prompt: Tokens before the frames, (B, P).
        suffix: Tokens after the frames, (B, A).
        end: End-of-sentence token of each clip, (B, 1); masked if the backbone does not read it.
        counts: Number of tokens of each clip in all three, on the host.
    """

    prompt: MaskedTokens
    suffix: MaskedTokens
    end: MaskedTokens
    counts: list[int]

    def concat_ids(self) -> Tensor:
        """Concatenate the ids of all text tokens: prompt, suffix and end token, int64 (B, W)."""
        return torch.cat([self.prompt[0], self.suffix[0], self.end[0]], dim=1)

    def insert_frames(self, text_BWE: Tensor, frame_vectors: FusedVectors) -> InputVectors:
        """Insert the frames between prompt and suffix, without padding between real vectors.

        Args:
            text_BWE: Embeddings of the ids from `concat_ids`.
            frame_vectors: Output of the fusion module.

        Returns:
            Vectors, padded on the right.
        """
        widths = [ids.shape[1] for ids, _ in (self.prompt, self.suffix, self.end)]
        prompt_BPE, suffix_BAE, end_B1E = text_BWE.split(widths, dim=1)
        totals = list(map(sum, zip(self.counts, frame_vectors.counts, strict=True)))
        x_BNE, mask_BN = concat_unpadded(
            [
                (prompt_BPE, self.prompt[1]),
                *frame_vectors.parts,
                (suffix_BAE, self.suffix[1]),
                (end_B1E, self.end[1]),
            ],
            max(totals),
        )
        return InputVectors(x_BNE, mask_BN, totals)


def build_input_text(
    prompt: tuple[Tensor | None, Tensor | None],
    suffix: tuple[Tensor | None, Tensor | None],
    frame_mask_BT: Tensor,
    eos_id: int,
    appends_eos: bool,
    layout: BatchLayout,
) -> InputText:
    """Build the text around the frames of a batch and append the end-of-sentence token.

    Args:
        prompt: Ids and mask of the tokens before the frames; None: no clip has any.
        suffix: Ids and mask of the tokens after the frames; None: no clip has any.
        frame_mask_BT: Mask of any stream, from which number of clips and device are taken.
        eos_id: Id of the end-of-sentence token.
        appends_eos: Whether the backbone reads the end-of-sentence token.
        layout: Lengths of prompt and suffix.
    """
    empty_mask_B0 = frame_mask_BT[:, :0]
    prompt_ids_BP, prompt_mask_BP = _default_to_empty(*prompt, empty_mask_B0)
    eos_ids_B1 = prompt_ids_BP.new_full((len(prompt_ids_BP), 1), eos_id)
    # The end token is always present; if it is masked, `concat_unpadded` removes it as padding.
    eos_mask_B1 = torch.full_like(eos_ids_B1, appends_eos, dtype=torch.bool)
    return InputText(
        prompt=(prompt_ids_BP, prompt_mask_BP),
        suffix=_default_to_empty(*suffix, empty_mask_B0),
        end=(eos_ids_B1, eos_mask_B1),
        counts=[
            before + after + int(appends_eos)
            for before, after in zip(layout.prompt, layout.suffix, strict=True)
        ],
    )


def _default_to_empty(
    ids_BP: Tensor | None, mask_BP: Tensor | None, empty_mask_B0: Tensor
) -> MaskedTokens:
    """Return the tokens and their mask; if either is None, both with a width of zero."""
    if ids_BP is None or mask_BP is None:
        return empty_mask_B0.long(), empty_mask_B0
    return ids_BP, mask_BP
