"""A pickle as plain values, without running anything that it asks for.

A pickle is a program: it names functions and calls them. Here each name is looked up in a table of
a dozen, all of them ours or Python's own containers; any other name ends the reading, before
anything is called. NumPy's arrays and PyTorch's tensors are put together by us from their bytes,
since even NumPy's own way trusts what a pickle says of memory. What is read: containers, numbers,
texts, arrays of numbers, tensors on the CPU. Not for models: their weights are `safetensors`.
"""

import io
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError, SourceError

_KINDS = "biufcUO"
"""What arrays may hold: truth values, numbers, texts, and objects that are plain themselves."""


def read_plain(path: Path) -> Any:
    """The values of a pickle, or of an `.npy` or `.npz`; tensors are arrays.

    Raises:
        InputError: there is no such file.
        SourceError: it is damaged, or asks for more than plain values; that is named.
    """
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".npz":
                return _read_archive(file)
            return _read_array(file) if path.suffix.lower() == ".npy" else _load(file)
    except _RefusedError as error:
        raise SourceError(
            f"`{path}` asks for `{error}`, which is no plain value; nothing of it was run. Only"
            " containers, numbers, texts, arrays and tensors are converted"
        ) from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes make the unpickler fail in every way there is
        raise SourceError(f"`{path}` is no pickle of plain values: {error}") from None


class _RefusedError(Exception):
    """A name that a pickle must not ask for."""


class _Unpickler(pickle.Unpickler):
    """Looks names up in `_ALLOWED` alone."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for.

        Raises:
            _RefusedError: it is not in the table.
        """
        here = _RENAMED.get(module, module).replace("numpy.core.", "numpy._core.")
        known = _ALLOWED.get((here, name))
        if known is None:
            raise _RefusedError(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> NoReturn:
        """Nothing lies outside.

        Raises:
            _RefusedError: always.
        """
        raise _RefusedError("a persistent object")


class _Dtype:
    """The type of an array's values; made by a pickle, so it is checked."""

    def __init__(self, text: str, *_: Any) -> None:
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _KINDS or self.dtype.names:
            raise _RefusedError(f"numpy.dtype({text!r})")

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):  # of all that it says, the order of bytes counts
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array that a pickle makes first and fills then."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, fortran, content = state
        self.array = _filled(content, dtype, shape, "F" if fortran else "C")


def _filled(content: Any, dtype: _Dtype, shape: Sequence[int], order: Any = "C") -> NDArray[Any]:
    """An array out of its bytes, or of a list of objects."""
    if dtype.dtype.kind == "O":
        array = np.empty(len(content), object)
        array[:] = [_plain(one) for one in content]
    else:
        array = np.frombuffer(content, dtype.dtype)
    return array.reshape(tuple(shape), order=order)


def _turned(
    content: Any, dtype: _Dtype, shape: Sequence[int], order: str, axes: Sequence[int] | None = None
) -> NDArray[Any]:
    """An array of protocol 5; of order `K` as it lies, and `axes` say how it is turned."""
    if order == "K" and axes is not None:
        return _filled(content, dtype, shape).transpose(tuple(axes))
    return _filled(content, dtype, shape, order)


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    return _filled(content, dtype, ())[()]


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as older protocols write them."""
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"_codecs.encode to {encoding}")
    return text.encode("latin-1")


def _storage(content: bytes) -> NDArray[Any]:
    """The numbers of a tensor."""
    import torch

    found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return torch.tensor([], dtype=found.dtype).set_(found).numpy()


def _tensor(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> NDArray[Any]:
    """A tensor, as an array; what it says of its place in the storage is checked."""
    steps = list(zip(size, stride, strict=True))
    last = offset + sum((length - 1) * step for length, step in steps)
    if min([offset, *size, *stride]) < 0 or (0 not in size and last >= len(storage)):
        raise _RefusedError("a tensor beyond its storage")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides).copy()


_RENAMED = {"__builtin__": "builtins"}
"""Modules that had another name in Python 2, which older protocols write."""
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple)},
    **{("builtins", kind.__name__): kind for kind in (int, float, complex, bytes, bytearray)},
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("_codecs", "encode"): _latin1,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _turned,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
}
"""Module and name in a pickle → what is called instead, or as well."""


def _load(file: IO[bytes]) -> Any:
    """The values of a pickle."""
    return _plain(_Unpickler(file).load())


def _plain(value: Any) -> Any:
    """The same with arrays that are finished."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _read_archive(file: IO[bytes]) -> dict[str, Any]:
    """Name → array of an `.npz`."""
    with zipfile.ZipFile(file) as archive:
        found = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                found[name.removesuffix(".npy")] = _read_array(member)
    return found


def _read_array(file: IO[bytes]) -> Any:
    """An `.npy`; where it holds objects, a list of them, or the only one."""
    content = io.BytesIO(file.read())
    version = np.lib.format.read_magic(content)
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else _later_header
    *_, dtype = head(content)
    if not dtype.hasobject:
        content.seek(0)
        return np.load(content, allow_pickle=False)
    found = _load(content)
    return found.tolist() if isinstance(found, np.ndarray) else found


def _later_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    return np.lib.format.read_array_header_2_0(file)
