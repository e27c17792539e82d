"""The padded batch, the only type that passes between `data` and `models`.

All sequences are padded on the right; masks are True at real positions. Labels are already aligned
with the decoder's logits: position l of the logits predicts `labels_BL[:, l]`.

Shapes: B clips, T frames, D width, P prompt tokens, A tokens after the frames, L target tokens, F
forced tokens, R references.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""Label of positions excluded from the loss (the default `ignore_index` of PyTorch's loss)."""


@dataclass(frozen=True)
class Batch:
    """A padded batch of clips.

    Attributes:
        clip_ids: Clip id of each row, B of them.
        streams: Stream name → float32 (B, T, D), uint8 for the pixels of frames, where D is
            side · side · 3, or int64 for token ids, where D is 1; streams may differ in T.
        frame_masks: Stream name → bool (B, T).
        prompt_ids_BP: Tokens that precede the frames in the encoder input, int64 (B, P); P may
            be 0.
        prompt_mask_BP: Mask of the prompt tokens, bool (B, P).
        suffix_ids_BA: Tokens that follow the frames, int64 (B, A); A may be 0.
        suffix_mask_BA: Mask of the tokens after the frames, bool (B, A).
        labels_BL: Decoder prompt, text and end-of-sentence token, int64 (B, L); padded with
            `IGNORE`.
        forced_ids_BF: The decoder prompt alone, int64 (B, F); F may be 0.
        forced_mask_BF: Mask of the decoder prompt, bool (B, F).
        labels_BRL: Labels of all references of each clip for `batch.reference_choice: min_loss`;
            the first reference equals `labels_BL`. Padded with `IGNORE`; the rows of missing
            references consist of `IGNORE`. int64 (B, R, L), or None to train on `labels_BL` alone.
    """

    clip_ids: tuple[str, ...]
    streams: dict[str, Tensor]
    frame_masks: dict[str, Tensor]
    prompt_ids_BP: Tensor
    prompt_mask_BP: Tensor
    suffix_ids_BA: Tensor
    suffix_mask_BA: Tensor
    labels_BL: Tensor
    forced_ids_BF: Tensor
    forced_mask_BF: Tensor
    labels_BRL: Tensor | None = None

    @property
    def num_clips(self) -> int:
        """Return the number of rows, B."""
        return len(self.clip_ids)

    @property
    def num_frames(self) -> int:
        """Return the number of frames without padding, summed over all streams."""
        return sum(int(mask.sum()) for mask in self.frame_masks.values())

    @property
    def num_padded_frames(self) -> int:
        """Return the number of frames with padding, summed over all streams."""
        return sum(mask.numel() for mask in self.frame_masks.values())

    @property
    def padding_share(self) -> float:
        """Return the share of frames that are padding, 0 to 1, over all streams."""
        return 1 - self.num_frames / self.num_padded_frames

    def get_forward_kwargs(self) -> dict[str, Any]:
        """Return inputs and labels as keyword arguments of `Translator.forward`."""
        # The decoder prompt is not passed separately: in training, the labels start with it.
        reference_labels = {} if self.labels_BRL is None else {"all_labels": self.labels_BRL}
        return {**self.get_generate_kwargs(), "labels": self.labels_BL, **reference_labels}

    def get_generate_kwargs(self) -> dict[str, Any]:
        """Return inputs and clip ids as keyword arguments of `Translator.generate`.

        The decoder prompt (`forced_ids_BF`, `forced_mask_BF`) is not included.
        """
        return {
            "streams": self.streams,
            "frame_masks": self.frame_masks,
            "prompt_ids": self.prompt_ids_BP,
            "prompt_mask": self.prompt_mask_BP,
            "suffix_ids": self.suffix_ids_BA,
            "suffix_mask": self.suffix_mask_BA,
            "clip_ids": self.clip_ids,
        }

    def to(self, device: torch.device | str) -> "Batch":
        """Return a copy of the batch whose tensors are on the given device."""
        return Batch(
            clip_ids=self.clip_ids,
            streams={name: x.to(device) for name, x in self.streams.items()},
            frame_masks={name: mask.to(device) for name, mask in self.frame_masks.items()},
            prompt_ids_BP=self.prompt_ids_BP.to(device),
            prompt_mask_BP=self.prompt_mask_BP.to(device),
            suffix_ids_BA=self.suffix_ids_BA.to(device),
            suffix_mask_BA=self.suffix_mask_BA.to(device),
            labels_BL=self.labels_BL.to(device),
            forced_ids_BF=self.forced_ids_BF.to(device),
            forced_mask_BF=self.forced_mask_BF.to(device),
            labels_BRL=None if self.labels_BRL is None else self.labels_BRL.to(device),
        )
