"""Splitting of a batch into parts of consecutive clips, for memory that is too small for it."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from kinesweep.core.batch import BatchLayout


def split_batch(batch: Mapping[str, Any], num_parts: int) -> list[dict[str, Any]]:
    """Split the keyword arguments of a forward pass into parts of consecutive clips.

    Args:
        batch: Keyword arguments of `Translator.forward`; tensors and tuples have one row per clip.
        num_parts: Number of parts; a batch with fewer clips is split into single clips.

    Returns:
        At least one part; their sizes differ by at most one clip.
    """
    num_clips = len(batch["labels"])
    # A part without clips would have no loss.
    num_parts = min(num_parts, num_clips)
    # Computed from the index, so that sizes differ by at most one.
    bounds = [num_clips * index // num_parts for index in range(num_parts + 1)]
    return [
        {name: _select_rows(value, slice(start, stop)) for name, value in batch.items()}
        for start, stop in pairwise(bounds)
    ]


def _select_rows(value: Any, rows: slice) -> Any:
    """Return some rows of a tensor, a tuple or a layout, or of each tensor of a mapping."""
    if isinstance(value, BatchLayout):
        return value.select_rows(rows)
    if isinstance(value, Mapping):
        return {name: _select_rows(each, rows) for name, each in value.items()}
    return value[rows] if isinstance(value, Tensor | tuple | list) else value
