"""A safe unpickler, which reads plain values and never runs code from the file.

A pickle is a program that names functions and calls them. This unpickler looks up each name in a
small allowlist of Python's containers and functions of this module; any other name stops it before
anything is called. It rebuilds NumPy arrays and PyTorch tensors from their bytes itself, because
NumPy's own reconstruction trusts the memory layout that the pickle states. Supported are
containers, numbers, texts, arrays of numbers, and tensors on the CPU. It is not meant for models,
whose weights are stored as `safetensors`.
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
"""NumPy kinds that arrays may have: booleans, numbers, texts, and objects that are plain values."""


def read_plain(path: Path) -> Any:
    """Read the plain values of a pickle, an `.npy` or an `.npz`.

    Args:
        path: The file; its suffix determines the format, and any other suffix means pickle.

    Returns:
        Containers, numbers, texts and arrays; tensors become arrays.

    Raises:
        InputError: If the file does not exist or cannot be opened.
        SourceError: If the file is damaged or contains anything but plain values; the message names
            the first forbidden object.
    """
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".npz":
                return _read_archive(file)
            return _read_array(file) if path.suffix.lower() == ".npy" else _load(file)
    # A separate type and not a ValueError, so that damaged files get another message.
    except _RefusedError as error:
        raise SourceError(
            f"`{path}` asks for `{error}`, which is not a plain value; no code in it was run. Only"
            " containers, numbers, texts, arrays and tensors are converted"
        ) from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes can make the unpickler raise any exception
        raise SourceError(f"`{path}` is not a pickle of plain values: {error}") from None


class _RefusedError(Exception):
    """A pickle asks for a name or an operation that is not allowed."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves only the names in `_ALLOWED`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of a name in the pickle.

        Raises:
            _RefusedError: If the name is not in the allowlist.
        """
        # NumPy 2 renamed `numpy.core` to `numpy._core`; files of both versions are read.
        here = _RENAMED.get(module, module).replace("numpy.core.", "numpy._core.")
        known = _ALLOWED.get((here, name))
        if known is None:
            raise _RefusedError(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> NoReturn:
        """Reject references to objects outside of the pickle.

        Raises:
            _RefusedError: Always.
        """
        raise _RefusedError("a persistent object")


class _Dtype:
    """A stand-in for `numpy.dtype` that rejects structured and unknown types."""

    def __init__(self, text: str, *_: Any) -> None:
        # A pickle passes a type code such as `f4`; structured types, which have names, are refused.
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _KINDS or self.dtype.names:
            raise _RefusedError(f"numpy.dtype({text!r})")

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):  # the byte order is the only part of the state that is used
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A stand-in for `numpy.ndarray`, which a pickle creates empty and fills afterwards."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        # NumPy's state of an array: version, shape, dtype, Fortran order, content.
        _, shape, dtype, fortran, content = state
        self.array = _filled(content, dtype, shape, "F" if fortran else "C")


def _filled(content: Any, dtype: _Dtype, shape: Sequence[int], order: Any = "C") -> NDArray[Any]:
    """Build an array from bytes, or from a list of objects.

    Args:
        content: Bytes of the values, or the objects themselves.
        dtype: Type of the values.
        shape: Shape of the array; NumPy checks it against the size of the content.
        order: Memory order, `C` or `F`.
    """
    if dtype.dtype.kind == "O":
        array = np.empty(len(content), object)
        # Objects of an array may be stand-ins too, so they are converted as well.
        array[:] = [_plain(one) for one in content]
    else:
        array = np.frombuffer(content, dtype.dtype)
    return array.reshape(tuple(shape), order=order)


def _turned(
    content: Any, dtype: _Dtype, shape: Sequence[int], order: str, axes: Sequence[int] | None = None
) -> NDArray[Any]:
    """Build an array written with pickle protocol 5.

    NumPy writes order `K` for arrays with permuted axes: the bytes are in memory order, and `axes`
    is the permutation that restores the array.
    """
    if order == "K" and axes is not None:
        return _filled(content, dtype, shape).transpose(tuple(axes))
    return _filled(content, dtype, shape, order)


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    """Build a NumPy scalar from its bytes."""
    return _filled(content, dtype, ())[()]


def _latin1(text: str, encoding: str) -> bytes:
    """Return bytes that protocols 0 to 2 store as text in Latin-1.

    Raises:
        _RefusedError: If another encoding is asked for.
    """
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"_codecs.encode to {encoding}")
    return text.encode("latin-1")


def _storage(content: bytes) -> NDArray[Any]:
    """Return the numbers of a tensor's storage, which is a nested file of `torch.save`."""
    import torch  # takes seconds to import and is needed for pickled tensors only

    # `weights_only` makes PyTorch use its own restricted unpickler.
    found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return torch.tensor([], dtype=found.dtype).set_(found).numpy()


def _tensor(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> NDArray[Any]:
    """Build an array from a tensor's storage, and check that it stays within the storage.

    Args:
        storage: Numbers of the storage, one-dimensional.
        offset: Index of the first element.
        size: Shape of the tensor.
        stride: Elements between neighbors, for each dimension.

    Raises:
        _RefusedError: If the tensor reaches beyond its storage.
    """
    # `as_strided` does not check bounds, so a forged size would read other memory of the process.
    steps = list(zip(size, stride, strict=True))
    # Index of the last element; meaningless for a tensor without elements.
    last = offset + sum((length - 1) * step for length, step in steps)
    # A negative offset, size or stride would reach before the storage.
    if min([offset, *size, *stride]) < 0 or (0 not in size and last >= len(storage)):
        raise _RefusedError("a tensor beyond its storage")
    # `as_strided` counts in bytes. The copy detaches the array from the shared storage.
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides).copy()


_RENAMED = {"__builtin__": "builtins"}
"""Python 2 names of modules, which older protocols use → their current names."""
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
"""Allowlist: module and name in a pickle → the function or class that is called for it."""


def _load(file: IO[bytes]) -> Any:
    """Return the plain values of a pickle."""
    return _plain(_Unpickler(file).load())


def _plain(value: Any) -> Any:
    """Replace the stand-ins for arrays by the arrays themselves, at any depth."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _read_archive(file: IO[bytes]) -> dict[str, Any]:
    """Return name → array of an `.npz`."""
    # Not `np.load`, which refuses archives with arrays of objects or unpickles them freely.
    with zipfile.ZipFile(file) as archive:
        found = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                found[name.removesuffix(".npy")] = _read_array(member)
    return found


def _read_array(file: IO[bytes]) -> Any:
    """Return the array of an `.npy`; an array of objects becomes a list or the single object."""
    # In memory, because the header is read twice and seeking in a zip archive is slow.
    content = io.BytesIO(file.read())
    version = np.lib.format.read_magic(content)
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else _later_header
    *_, dtype = head(content)
    # Objects follow the header as a pickle, which NumPy would load without restrictions.
    if not dtype.hasobject:
        content.seek(0)
        return np.load(content, allow_pickle=False)
    found = _load(content)
    return found.tolist() if isinstance(found, np.ndarray) else found


def _later_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an `.npy` of format version 2.0 or later."""
    return np.lib.format.read_array_header_2_0(file)
