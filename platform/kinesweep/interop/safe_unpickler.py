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

_ALLOWED_ARRAY_KINDS = "biufcUO"
"""NumPy kinds that arrays may have: booleans, numbers, texts, and objects that are plain values."""


def read_plain_values(path: Path) -> Any:
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
                return _read_npz(file)
            return _read_npy(file) if path.suffix.lower() == ".npy" else _load_pickle(file)
    # A separate type and not a ValueError, so that damaged files get another message.
    except _ForbiddenObjectError as error:
        raise SourceError(
            f"`{path}` asks for `{error}`, which is not a plain value; no code in it was run. Only"
            " containers, numbers, texts, arrays and tensors are converted"
        ) from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes can make the unpickler raise any exception
        raise SourceError(f"`{path}` is not a pickle of plain values: {error}") from None


class _ForbiddenObjectError(Exception):
    """Raised when a pickle asks for a name or an operation that is not allowed."""


class _SafeUnpickler(pickle.Unpickler):
    """An unpickler that resolves only the names in `_ALLOWED_NAMES`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the allowed replacement of a name in the pickle.

        Raises:
            _ForbiddenObjectError: If the name is not in the allowlist.
        """
        # NumPy 2 renamed `numpy.core` to `numpy._core`; files of both versions are read.
        current_module = _RENAMED_MODULES.get(module, module).replace("numpy.core.", "numpy._core.")
        replacement = _ALLOWED_NAMES.get((current_module, name))
        if replacement is None:
            raise _ForbiddenObjectError(f"{module}.{name}")
        return replacement

    def persistent_load(self, pid: Any) -> NoReturn:
        """Reject references to objects outside of the pickle.

        Raises:
            _ForbiddenObjectError: Always.
        """
        raise _ForbiddenObjectError("a persistent object")


class _DtypeStandIn:
    """A stand-in for `numpy.dtype` that rejects structured and unknown types."""

    def __init__(self, text: str, *_: Any) -> None:
        # A pickle passes a type code such as `f4`; structured types, which have names, are refused.
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _ALLOWED_ARRAY_KINDS or self.dtype.names:
            raise _ForbiddenObjectError(f"numpy.dtype({text!r})")

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):  # the byte order is the only part of the state that is used
            self.dtype = self.dtype.newbyteorder(state[1])


class _ArrayStandIn:
    """A stand-in for `numpy.ndarray`, which a pickle creates empty and fills afterwards."""

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        # NumPy's state of an array: version, shape, dtype, Fortran order, content.
        _, shape, dtype, fortran, content = state
        self.array = _build_array(content, dtype, shape, "F" if fortran else "C")


def _build_array(
    content: Any, dtype: _DtypeStandIn, shape: Sequence[int], order: Any = "C"
) -> NDArray[Any]:
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
        array[:] = [_replace_stand_ins(item) for item in content]
    else:
        array = np.frombuffer(content, dtype.dtype)
    return array.reshape(tuple(shape), order=order)


def _build_permuted_array(
    content: Any,
    dtype: _DtypeStandIn,
    shape: Sequence[int],
    order: str,
    axes: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Build an array that was written with pickle protocol 5, whose axes may be permuted.

    NumPy writes order `K` for arrays with permuted axes: the bytes are in memory order, and `axes`
    is the permutation that restores the array.
    """
    if order == "K" and axes is not None:
        return _build_array(content, dtype, shape).transpose(tuple(axes))
    return _build_array(content, dtype, shape, order)


def _build_scalar(dtype: _DtypeStandIn, content: bytes) -> Any:
    """Build a NumPy scalar from its bytes."""
    return _build_array(content, dtype, ())[()]


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Encode text in Latin-1, which protocols 0 to 2 use to store bytes.

    Raises:
        _ForbiddenObjectError: If another encoding is asked for.
    """
    if encoding not in ("latin1", "latin-1"):
        raise _ForbiddenObjectError(f"_codecs.encode to {encoding}")
    return text.encode("latin-1")


def _load_tensor_storage(content: bytes) -> NDArray[Any]:
    """Load the numbers of a tensor's storage, which is a nested file of `torch.save`."""
    import torch  # takes seconds to import and is needed for pickled tensors only

    # `weights_only` makes PyTorch use its own restricted unpickler.
    storage: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return torch.tensor([], dtype=storage.dtype).set_(storage).numpy()


def _rebuild_tensor(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> NDArray[Any]:
    """Rebuild a tensor from its storage as an array, and check that it stays within the storage.

    Args:
        storage: Numbers of the storage, one-dimensional.
        offset: Index of the first element.
        size: Shape of the tensor.
        stride: Elements between neighbors, for each dimension.

    Raises:
        _ForbiddenObjectError: If the tensor reaches beyond its storage.
    """
    # `as_strided` does not check bounds, so a forged size would read other memory of the process.
    steps = list(zip(size, stride, strict=True))
    # Index of the last element; meaningless for a tensor without elements.
    last = offset + sum((length - 1) * step for length, step in steps)
    # A negative offset, size or stride would reach before the storage.
    if min([offset, *size, *stride]) < 0 or (0 not in size and last >= len(storage)):
        raise _ForbiddenObjectError("a tensor beyond its storage")
    # `as_strided` counts in bytes. The copy detaches the array from the shared storage.
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides).copy()


_RENAMED_MODULES = {"__builtin__": "builtins"}
"""Python 2 names of modules, which older protocols use → their current names."""
_ALLOWED_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple)},
    **{("builtins", kind.__name__): kind for kind in (int, float, complex, bytes, bytearray)},
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("_codecs", "encode"): _encode_latin1,
    ("numpy", "dtype"): _DtypeStandIn,
    ("numpy", "ndarray"): _ArrayStandIn,
    ("numpy._core.multiarray", "_reconstruct"): _ArrayStandIn,
    ("numpy._core.multiarray", "scalar"): _build_scalar,
    ("numpy._core.numeric", "_frombuffer"): _build_permuted_array,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _load_tensor_storage,
}
"""Allowlist: module and name in a pickle → the function or class that is called for it."""


def _load_pickle(file: IO[bytes]) -> Any:
    """Load the plain values of a pickle."""
    return _replace_stand_ins(_SafeUnpickler(file).load())


def _replace_stand_ins(value: Any) -> Any:
    """Replace the stand-ins for arrays by the arrays themselves, at any depth."""
    if isinstance(value, _ArrayStandIn):
        return value.array
    if isinstance(value, dict):
        return {key: _replace_stand_ins(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_stand_ins(one) for one in value]
    return value


def _read_npz(file: IO[bytes]) -> dict[str, Any]:
    """Read an `.npz`; return name → array."""
    # Not `np.load`, which refuses archives with arrays of objects or unpickles them freely.
    with zipfile.ZipFile(file) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = _read_npy(member)
    return arrays


def _read_npy(file: IO[bytes]) -> Any:
    """Read the array of an `.npy`; an array of objects becomes a list or the single object."""
    # In memory, because the header is read twice and seeking in a zip archive is slow.
    content = io.BytesIO(file.read())
    version = np.lib.format.read_magic(content)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_later_npy_header
    )
    *_, dtype = read_header(content)
    # Objects follow the header as a pickle, which NumPy would load without restrictions.
    if not dtype.hasobject:
        content.seek(0)
        return np.load(content, allow_pickle=False)
    value = _load_pickle(content)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _read_later_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an `.npy` of format version 2.0 or later."""
    return np.lib.format.read_array_header_2_0(file)
