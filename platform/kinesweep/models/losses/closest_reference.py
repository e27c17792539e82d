"""Closest-reference loss: of several reference translations, a clip is trained on the likeliest.

Each reference of a clip is scored against the same frames, and the one with the lowest mean token
loss (without smoothing) is trained on; the others get no gradient. The model can thus settle on one
way to say something instead of being pulled between references. Each reference costs one pass of
the decoder in time and memory; a corpus with three sentences per clip needs three times as much.

The chosen reference, and so its number of tokens, is known only after the forward pass, but the
number that divides a step's loss must be known before it and be the same on all ranks. Therefore
a clip's weight is the number of tokens of its FIRST reference, whichever is chosen: the loss is the
mean of the clips' mean token losses with these weights. It does not depend on how a step is split
into batches and ranks, and for clips with one reference it equals `cross_entropy`.

Shapes: B clips, R maximum references per clip, M references of all clips, L target tokens,
V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kinesweep.core.batch import IGNORE, BatchLayout, copy_to_device


class ReferenceLabels(NamedTuple):
    """The labels of all reference translations of a batch, one per row.

    Attributes:
        labels_ML: Labels of each reference.
        clip_M: Clip of each reference, as a row of the batch; ascending.
        place_M: Place of each reference in the flattened table of clips and references (B · R).
        num_places: Shape of this table, (B, R).
    """

    labels_ML: Tensor
    clip_M: Tensor
    place_M: Tensor
    num_places: tuple[int, int]

    @classmethod
    def from_padded_labels(
        cls, labels_BRL: Tensor, layout: BatchLayout | None = None
    ) -> "ReferenceLabels":
        """Select the references that exist; a row of `IGNORE` only is not a reference.

        Args:
            labels_BRL: Labels of all references of each clip, padded in R and L with `IGNORE`; the
                references of a clip come before its padding.
            layout: Number of references of each clip; None: it is read from the labels.
        """
        num_clips, max_references, _ = labels_BRL.shape
        if layout is None or not layout.labels:
            layout = BatchLayout.from_masks({}, labels_BRL=labels_BRL)
        # On the host, because the device does not know how many references there are.
        places = [
            clip * max_references + index
            for clip, lengths in enumerate(layout.labels)
            for index in range(len(lengths))
        ]
        place_M = copy_to_device(torch.tensor(places), labels_BRL.device)
        labels_ML = labels_BRL.flatten(0, 1).index_select(0, place_M)
        return cls(labels_ML, place_M // max_references, place_M, (num_clips, max_references))


@torch.no_grad()
def find_closest_reference_rows(logits_MLV: Tensor, references: ReferenceLabels) -> Tensor:
    """Find the row of each clip's likeliest reference; in a tie, that of its first one.

    Args:
        logits_MLV: Logits of each reference.
        references: Labels of each reference.

    Returns:
        Rows of `logits_MLV`, int64 (B,).
    """
    means_M = compute_mean_losses(logits_MLV, references.labels_ML, 0.0)
    num_clips, max_references = references.num_places
    # Missing references stay at infinity, so they are never chosen.
    means = means_M.new_full((num_clips * max_references,), torch.inf)
    means_BR = means.index_copy(0, references.place_M, means_M).view(num_clips, max_references)
    # A row is the number of references of the preceding clips, plus the index within the clip.
    clips_B = torch.arange(num_clips, device=means.device)
    offset_B = torch.searchsorted(references.clip_M, clips_B)
    return offset_B + means_BR.argmin(dim=1)


def compute_closest_reference_loss(
    logits_BLV: Tensor,
    chosen_BL: Tensor,
    labels_BL: Tensor,
    smoothing: float = 0.0,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """Compute the loss of the chosen references, a scalar in float32 or better.

    Args:
        logits_BLV: Logits of the chosen references.
        chosen_BL: Labels of the chosen references; `IGNORE` is not scored.
        labels_BL: Labels of the first references; their number is the weight of the clip.
        smoothing: Share of the target that is spread evenly over the vocabulary.
        num_items: Number of labels of the first references in the whole optimizer step; None: in
            this batch.
    """
    weight_B = (labels_BL != IGNORE).sum(dim=1)
    total = (weight_B * compute_mean_losses(logits_BLV, chosen_BL, smoothing)).sum()
    items = weight_B.sum() if num_items is None else torch.as_tensor(num_items)
    return total / items.to(total.device).clamp(min=1)


def compute_mean_losses(logits_MLV: Tensor, labels_ML: Tensor, smoothing: float) -> Tensor:
    """Compute the mean loss over the scored labels of each row, (M,)."""
    losses_ML = functional.cross_entropy(
        logits_MLV.flatten(0, 1).to(_get_loss_dtype(logits_MLV)),
        labels_ML.flatten(),
        ignore_index=IGNORE,
        label_smoothing=smoothing,
        reduction="none",
    ).view(labels_ML.shape)
    return losses_ML.sum(dim=1) / (labels_ML != IGNORE).sum(dim=1)


def _get_loss_dtype(logits: Tensor) -> torch.dtype:
    """Return the dtype in which losses are computed: that of the logits, but at least float32."""
    return torch.promote_types(logits.dtype, torch.float32)
