"""The content of a checkpoint before it is written, and its copy in host memory.

Training changes weights and moments in place, so a writer beside it needs a copy of its own. The
copy goes to buffers that are kept from checkpoint to checkpoint: copying 600 MB to them takes 0.1 s
on 2 cores, while fresh memory costs as much again for its page faults. The price is the
checkpoint's size in host memory.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from kinesweep.core.system.memory import get_available_memory_bytes

# A copy may take half of the available memory: the other half is for batches that are yet to come.
_MAX_MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class CheckpointContent:
    """The files of a checkpoint, as the objects that they are written from.

    Attributes:
        weights: Name of a safetensors file → its tensors.
        metadata: Name of a safetensors file → its metadata; files without metadata are left out.
        states: Name of a file for `torch.save` → plain values and tensors.
        texts: Name of a text file → its content.
    """

    weights: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    metadata: Mapping[str, dict[str, str]] = field(default_factory=dict)
    states: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write all files into a folder, without syncing them to disk."""
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for name, tensors in self.weights.items():
            # safetensors stores contiguous tensors only.
            contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
            save_file(contiguous, folder / name, metadata=self.metadata.get(name))
        for name, state in self.states.items():
            torch.save(state, folder / name)

    def iterate_tensors(self) -> Iterator[Tensor]:
        """Iterate over all tensors, always in the same order; one may come more than once."""
        yield from _iterate_tensors([*self.weights.values(), *self.states.values()])


class HostBuffers:
    """Buffers in host memory for the tensors of one checkpoint at a time.

    They are page-locked for tensors of a GPU, so that all copies run at once and are awaited once.
    """

    def __init__(self) -> None:
        self._buffers: list[tuple[Any, Tensor]] = []

    def copy(self, content: CheckpointContent) -> CheckpointContent | None:
        """Copy a content; the next call overwrites the copy.

        Returns:
            The copy, which shares nothing with `content` that training changes; None if the memory
            for the buffers is not available.
        """
        tensors = {id(tensor): tensor for tensor in content.iterate_tensors()}
        free_buffers: dict[Any, list[Tensor]] = defaultdict(list)
        for layout, buffer in self._buffers:
            free_buffers[layout].append(buffer)
        found = {
            key: buffers.pop() if (buffers := free_buffers[_get_layout(tensor)]) else None
            for key, tensor in tensors.items()
        }
        new_bytes = sum(tensors[key].nbytes for key, buffer in found.items() if buffer is None)
        if new_bytes > _MAX_MEMORY_SHARE * get_available_memory_bytes():
            return None
        # Release buffers without a tensor before new ones are created.
        self._buffers = []
        free_buffers.clear()
        copies = {key: _copy_tensor(tensor, found[key]) for key, tensor in tensors.items()}
        self._buffers = [(_get_layout(tensors[key]), buffer) for key, buffer in copies.items()]
        if any(tensor.is_cuda for tensor in tensors.values()):
            # The copies were only queued: the writer must not read the buffers before this event.
            event = torch.cuda.Event()
            event.record()
            event.synchronize()
        return CheckpointContent(
            weights={
                name: {key: copies[id(tensor)] for key, tensor in weights.items()}
                for name, weights in content.weights.items()
            },
            metadata=content.metadata,
            # `deepcopy` takes objects of the memo for copied. It keeps shared tuples shared, which
            # `pickle` writes once, so the file has the bytes of one written from the originals.
            states=copy.deepcopy(content.states, dict(copies)),
            texts=content.texts,
        )


def _copy_tensor(tensor: Tensor, buffer: Tensor | None) -> Tensor:
    """Copy a tensor to a buffer, which is created if there is none; on a GPU only queue the copy.

    Args:
        tensor: Tensor on any device.
        buffer: Buffer of the same layout, or None.
    """
    if buffer is None:
        buffer = torch.empty_like(
            tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False
        )
    with torch.no_grad():
        return buffer.copy_(tensor, non_blocking=tensor.is_cuda)


def _get_layout(tensor: Tensor) -> tuple[Any, ...]:
    """Return what a buffer must have in common with a tensor."""
    return (tensor.shape, tensor.stride(), tensor.dtype, tensor.is_cuda)


def _iterate_tensors(value: Any) -> Iterator[Tensor]:
    """Iterate over the tensors in nested mappings and sequences."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _iterate_tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iterate_tensors(item)
