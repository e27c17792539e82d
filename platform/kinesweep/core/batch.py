"""The padded batch, the only type that passes between `data` and `models`.

All sequences are padded on the right; masks are True at real positions. Labels are already aligned
with the decoder's logits: position l of the logits predicts `labels_BL[:, l]`.

Shapes: B clips, T frames, D width, P prompt tokens, A tokens after the frames, L target tokens, F
forced tokens, R references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

IGNORE = -100
"""Label of positions excluded from the loss (the default `ignore_index` of PyTorch's loss)."""


@dataclass(frozen=True)
class BatchLayout:
    """The lengths of a padded batch as numbers of the host.

    With them, a model knows the sizes of its tensors without reading masks back from the device,
    for which the host would wait until the device has caught up.

    Attributes:
        frames: Stream → number of frames of each clip; 0 for a clip without the stream.
        prompt: Number of prompt tokens of each clip.
        suffix: Number of tokens of each clip after its frames.
        labels: Number of labels of each reference of each clip, the first reference first.
    """

    frames: Mapping[str, tuple[int, ...]]
    prompt: tuple[int, ...]
    suffix: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...] = ()

    @property
    def first_labels(self) -> list[int]:
        """Return the number of labels of each clip's first reference; empty if not known."""
        return [lengths[0] for lengths in self.labels]

    @property
    def all_labels(self) -> list[int]:
        """Return the number of labels of all references, clip by clip; empty if not known."""
        return [length for lengths in self.labels for length in lengths]

    @classmethod
    def from_masks(
        cls,
        frame_masks: Mapping[str, Tensor],
        prompt_mask_BP: Tensor | None = None,
        suffix_mask_BA: Tensor | None = None,
        labels_BRL: Tensor | None = None,
    ) -> Self:
        """Read the lengths of a batch from its masks, for callers without a layout.

        Args:
            frame_masks: Stream → mask, bool (B, T).
            prompt_mask_BP: Mask of the prompt; None: no clip has one.
            suffix_mask_BA: Mask of the tokens after the frames; None: no clip has any.
            labels_BRL: Labels of all references, `IGNORE` where padded; None: there are none.
        """
        frames = {name: _count_real(mask) for name, mask in frame_masks.items()}
        none = (0,) * max(map(len, frames.values()), default=0)
        return cls(
            frames=frames,
            prompt=none if prompt_mask_BP is None else _count_real(prompt_mask_BP),
            suffix=none if suffix_mask_BA is None else _count_real(suffix_mask_BA),
            labels=() if labels_BRL is None else _count_labels(labels_BRL),
        )

    def select_rows(self, rows: slice) -> "BatchLayout":
        """Return the layout of some rows of the batch."""
        return BatchLayout(
            frames={name: lengths[rows] for name, lengths in self.frames.items()},
            prompt=self.prompt[rows],
            suffix=self.suffix[rows],
            labels=self.labels[rows],
        )


def _count_real(mask_BN: Tensor) -> tuple[int, ...]:
    """Count the real positions of each row of a mask; the host waits for the device."""
    return tuple(mask_BN.sum(dim=1).tolist())


def _count_labels(labels_BRL: Tensor) -> tuple[tuple[int, ...], ...]:
    """Count the labels of each reference; a row of `IGNORE` only is not a reference."""
    counts_BR = (labels_BRL != IGNORE).sum(dim=2).tolist()
    return tuple(tuple(count for count in counts if count) for counts in counts_BR)


def read_host_values(tensor: Tensor) -> list[Any]:
    """Return the values of a tensor of the host, for which nothing has to be waited for."""
    assert tensor.device.type == "cpu", "the host would wait for the device"
    values: list[Any] = tensor.tolist()
    return values


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to a device, without waiting for a GPU."""
    # From pageable memory, the copy to a GPU would wait for all of its work.
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


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
        layout: Lengths as numbers of the host; None: models read them from the masks.
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
    layout: BatchLayout | None = None

    @property
    def num_clips(self) -> int:
        """Return the number of rows, B."""
        return len(self.clip_ids)

    @property
    def num_frames(self) -> int:
        """Return the number of frames without padding, summed over all streams."""
        layout = self.layout or BatchLayout.from_masks(self.frame_masks)
        return sum(map(sum, layout.frames.values()))

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
            "layout": self.layout,
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
            layout=self.layout,
        )
