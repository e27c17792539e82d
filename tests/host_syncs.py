"""Counts the places where the host reads a value from the device, for which it would wait.

On a CPU nothing waits, but the same calls are made. Some of them pass by PyTorch's dispatcher
(`tolist` of a CPU tensor), so the methods of tensors are watched as well.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Operations whose result or shape depends on values.
_OPERATIONS = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "repeat_interleave.Tensor",
    "unique_consecutive",
    "_unique2",
}
_METHODS = ("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "cpu")


class _Recorder(TorchDispatchMode):
    """Notes the operations of the list above, and boolean masks as indices."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.removesuffix(".default")
        if name in _OPERATIONS or name.partition(".")[0] in _OPERATIONS:
            self._note(name)
        if name.startswith(("index.", "index_put")):
            masks = [each for each in args[1] if isinstance(each, Tensor)]
            if any(mask.dtype == torch.bool for mask in masks):
                self._note("boolean index")
        return func(*args, **(kwargs or {}))


@contextmanager
def record_syncs() -> Iterator[list[str]]:
    """Record each sync with the line of the package or of a library that led to it."""
    found: list[str] = []

    def note(what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if "/tests/" not in frame.filename]
        places = [frame for frame in frames if "/torch/" not in frame.filename]
        place = places[-1] if places else frames[-1]
        # It works on tensors of the host, and checks that it does.
        if place.name != "read_host_values":
            found.append(f"{what} at {place.filename.rpartition('/')[2]}:{place.lineno}")

    def watch(name: str) -> Callable[..., Any]:
        original = getattr(Tensor, name)

        def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            note(name)
            return original(tensor, *args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in _METHODS:
            patch.setattr(Tensor, name, watch(name))
        with _Recorder(note):
            yield found
