"""One padded batch: the only thing that passes between `batches` and `models`.

Shapes: B clips, T frames, D width, P prompt tokens, A tokens after the frames, L target tokens, R
references.
Everything is padded on the right; masks are True on what is real. Labels are already aligned to the
decoder's logits: position l of the logits predicts `labels_BL[:, l]`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""Label of a position that is not scored (the value torch's cross entropy skips by default)."""


@dataclass(frozen=True)
class Batch:
    """Clips side by side.

    Attributes:
        clip_ids: one a row.
        streams: stream name → float32 (B, T, D); streams may differ in T.
        frame_masks: stream name → bool (B, T).
        prompt_ids_BP: tokens that precede the frames in the encoder's input, int64 (B, P); P may
            be 0.
        prompt_mask_BP: bool (B, P).
        after_ids_BA: tokens that follow the frames, int64 (B, A); A may be 0.
        after_mask_BA: bool (B, A).
        labels_BL: decoder prompt, text, end of sentence; `IGNORE` where padded. int64 (B, L).
        forced_ids_BF: the decoder prompt alone, int64 (B, F); F may be 0.
        forced_mask_BF: bool (B, F).
        labels_BRL: labels of all references of a clip, the first of them as in `labels_BL`,
            where the closest of them is learnt; `IGNORE` where padded, and all over where a clip
            has fewer. int64 (B, R, L); None: the labels are all there is.
    """

    clip_ids: tuple[str, ...]
    streams: dict[str, Tensor]
    frame_masks: dict[str, Tensor]
    prompt_ids_BP: Tensor
    prompt_mask_BP: Tensor
    after_ids_BA: Tensor
    after_mask_BA: Tensor
    labels_BL: Tensor
    forced_ids_BF: Tensor
    forced_mask_BF: Tensor
    labels_BRL: Tensor | None = None

    @property
    def num_clips(self) -> int:
        """Rows, B."""
        return len(self.clip_ids)

    @property
    def num_tokens(self) -> int:
        """Label positions that are scored."""
        return int((self.labels_BL != IGNORE).sum())

    @property
    def num_frames(self) -> int:
        """Frames that are no padding, over all streams."""
        return sum(int(mask.sum()) for mask in self.frame_masks.values())

    @property
    def num_places(self) -> int:
        """Frames, padding included, over all streams."""
        return sum(mask.numel() for mask in self.frame_masks.values())

    @property
    def padding_share(self) -> float:
        """Share of frames that are padding, over all streams."""
        return 1 - self.num_frames / self.num_places

    def inputs(self) -> dict[str, Any]:
        """Keyword arguments of `Translator.forward`."""
        several = {} if self.labels_BRL is None else {"all_labels": self.labels_BRL}
        return {**self.generation_inputs(), "labels": self.labels_BL, **several}

    def generation_inputs(self) -> dict[str, Any]:
        """Keyword arguments of `Translator.generate`'s encoder side."""
        return {
            "streams": self.streams,
            "frame_masks": self.frame_masks,
            "prompt_ids": self.prompt_ids_BP,
            "prompt_mask": self.prompt_mask_BP,
            "after_ids": self.after_ids_BA,
            "after_mask": self.after_mask_BA,
            "clip_ids": self.clip_ids,
        }

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return Batch(
            clip_ids=self.clip_ids,
            streams={name: x.to(device) for name, x in self.streams.items()},
            frame_masks={name: mask.to(device) for name, mask in self.frame_masks.items()},
            prompt_ids_BP=self.prompt_ids_BP.to(device),
            prompt_mask_BP=self.prompt_mask_BP.to(device),
            after_ids_BA=self.after_ids_BA.to(device),
            after_mask_BA=self.after_mask_BA.to(device),
            labels_BL=self.labels_BL.to(device),
            forced_ids_BF=self.forced_ids_BF.to(device),
            forced_mask_BF=self.forced_mask_BF.to(device),
            labels_BRL=None if self.labels_BRL is None else self.labels_BRL.to(device),
        )
