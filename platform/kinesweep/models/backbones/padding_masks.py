"""Attention masks of Hugging Face's models, made without reading them back from the device.

For PyTorch's attention (`sdpa`), transformers leaves out a mask that hides nothing, and reads the
mask to find out. The host then waits for the GPU in each pass. Training knows the lengths of its
batches on the host; within `known_padding` it says whether there is padding, and nothing is read.
The masks, and so the results, are the same.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask


@dataclass(frozen=True)
class TextLengths:
    """The lengths of input vectors and texts of a batch, on the host.

    Attributes:
        vectors: Number of input vectors of each clip.
        labels: Number of labels of each text.
    """

    vectors: Sequence[int]
    labels: Sequence[int]

    @property
    def has_padded_vectors(self) -> bool:
        """Return whether the clips have different numbers of vectors."""
        return len(set(self.vectors)) > 1

    @property
    def has_padded_rows(self) -> bool:
        """Return whether clips differ in their vectors, or texts in their labels."""
        return self.has_padded_vectors or len(set(self.labels)) > 1


# Whether the padding mask of this pass hides anything; None: transformers reads it.
_IS_PADDED: ContextVar[bool | None] = ContextVar("is_padded", default=None)


def reads_lengths(backbone_ops: Any) -> bool:
    """Return whether `compute_logits` of a backbone takes `lengths`.

    That of another package need not, as its contract does not name them.
    """
    return "lengths" in inspect.signature(backbone_ops.compute_logits).parameters


@contextmanager
def known_padding(is_padded: bool | None) -> Iterator[None]:
    """Say whether the padding masks that are passed to a model in the `with` block hide anything.

    Args:
        is_padded: Whether a mask hides anything; None: it is not known.
    """
    # A compiled model builds all masks anyway, and the compiler cannot trace this variable.
    if torch.compiler.is_compiling():
        yield
        return
    token = _IS_PADDED.set(is_padded)
    try:
        yield
    finally:
        _IS_PADDED.reset(token)


def _build_sdpa_mask(*args: Any, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
    """Build a mask as `transformers.masking_utils.sdpa_mask` does, without reading the padding.

    The arguments are those of `sdpa_mask`.
    """
    is_padded = None if torch.compiler.is_compiling() else _IS_PADDED.get()
    if attention_mask is not None and is_padded is not None:
        if is_padded:
            # A mask that hides something cannot be left out, so there is nothing to find out.
            kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        else:
            attention_mask = None
    return sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


# For this process: all models look up the function of their attention here.
ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] = _build_sdpa_mask
