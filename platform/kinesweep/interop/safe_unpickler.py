"""A safe unpickler, which reads plain values and never runs code from the file.

A pickle is a program that names functions and calls them. This unpickler looks up each name in a
small allowlist of Python's containers and functions of this package; any other name stops it
before anything is called. Arrays and tensors are rebuilt from their bytes by `pickled_arrays`.
Supported are containers, numbers, texts, arrays of numbers, and tensors on the CPU. It is not meant
for models, whose weights are stored as `safetensors`.
"""

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from kinesweep.core.errors import InputError, SourceError
from kinesweep.interop.pickled_arrays import (
    ArrayStandIn,
    DtypeStandIn,
    ForbiddenObjectError,
    build_permuted_array,
    build_scalar,
    load_tensor_storage,
    rebuild_tensor,
    replace_stand_ins,
)


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
    except ForbiddenObjectError as error:
        raise SourceError(
            f"`{path}` asks for `{error}`, which is not a plain value; no code in it was run. Only"
            " containers, numbers, texts, arrays and tensors are converted"
        ) from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged bytes can make the unpickler raise any exception
        reason = str(error) or type(error).__name__  # a `MemoryError` has no text
        raise SourceError(f"`{path}` is not a pickle of plain values: {reason}") from None


_MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class _SafeUnpickler(pickle.Unpickler):
    """An unpickler that resolves only the names in `_ALLOWED_NAMES`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the allowed replacement of a name in the pickle.

        Raises:
            ForbiddenObjectError: If the name is not in the allowlist.
        """
        # NumPy 2 renamed `numpy.core` to `numpy._core`; files of both versions are read.
        current_module = _RENAMED_MODULES.get(module, module).replace("numpy.core.", "numpy._core.")
        replacement = _ALLOWED_NAMES.get((current_module, name))
        if replacement is None:
            raise ForbiddenObjectError(f"{module}.{name}")
        return replacement

    def persistent_load(self, pid: Any) -> NoReturn:
        """Reject references to objects outside of the pickle.

        Raises:
            ForbiddenObjectError: Always.
        """
        raise ForbiddenObjectError("a persistent object")


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Return the bytes that a pickle of protocol 0, 1 or 2 stores as text in Latin-1.

    Raises:
        ForbiddenObjectError: If the pickle asks for another encoding.
    """
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenObjectError(f"_codecs.encode to {encoding}")
    return text.encode("latin-1")


def _build_bytes(kind: Callable[..., Any], *arguments: Any) -> Any:
    """Return the bytes of a pickle of protocol 2, which stores them as the arguments of a call.

    Raises:
        ForbiddenObjectError: If the argument is a number, which would be that many zeros.
    """
    if arguments and isinstance(arguments[0], int):
        raise ForbiddenObjectError(f"{arguments[0]} bytes of zero")
    return kind(*arguments)


_RENAMED_MODULES = {"__builtin__": "builtins"}
"""Python 2 names of modules, which older protocols use → their current names."""
_ALLOWED_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    **{("builtins", kind.__name__): kind for kind in (list, dict, set, frozenset, tuple)},
    **{("builtins", kind.__name__): kind for kind in (int, float, complex)},
    ("builtins", "bytes"): partial(_build_bytes, bytes),
    ("builtins", "bytearray"): partial(_build_bytes, bytearray),
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("_codecs", "encode"): _encode_latin1,
    ("numpy", "dtype"): DtypeStandIn,
    ("numpy", "ndarray"): ArrayStandIn,
    ("numpy._core.multiarray", "_reconstruct"): ArrayStandIn,
    ("numpy._core.multiarray", "scalar"): build_scalar,
    ("numpy._core.numeric", "_frombuffer"): build_permuted_array,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): load_tensor_storage,
}
"""Allowlist: module and name in a pickle → the function or class that is called for it."""


def _load_pickle(file: IO[bytes]) -> Any:
    """Load the plain values of a pickle, with arrays in the place of their stand-ins.

    Raises:
        ForbiddenObjectError: If the pickle asks for anything but plain values.
        ValueError: If the pickle asks for more memory than its content can fill.
    """
    _check_memory_requests(file)
    return replace_stand_ins(_SafeUnpickler(file).load())


def _check_memory_requests(file: IO[bytes]) -> None:
    """Check the lengths and memo indices of a pickle, and return to where the file was.

    Python's unpickler trusts them: an index of four bytes alone makes it fill up to 64 GB.

    Raises:
        ValueError: If a length or an index is larger than the file, or the file is not a pickle.
    """
    start = file.tell()
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(start)
    for opcode, argument, _ in pickletools.genops(file):  # checks the lengths itself
        if opcode.name in _MEMO_OPCODES and int(argument or 0) > num_bytes:
            raise ValueError(f"its memo index {argument} is larger than the file")
    file.seek(start)


def _read_npz(file: IO[bytes]) -> dict[str, Any]:
    """Read all arrays of an `.npz`.

    Returns:
        Name of the array → array, or the list or single object that an array of objects holds.
    """
    # Not `np.load`, which refuses archives with arrays of objects or unpickles them freely.
    with zipfile.ZipFile(file) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                arrays[name.removesuffix(".npy")] = _read_npy(member)
    return arrays


def _read_npy(file: IO[bytes]) -> Any:
    """Read the array of an `.npy`; an array of objects becomes a list, or the single object.

    Raises:
        ForbiddenObjectError: If an array of objects holds anything but plain values.
    """
    # In memory, because the header is read twice and seeking in a zip archive is slow.
    content = io.BytesIO(file.read())
    version = np.lib.format.read_magic(content)
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else _read_later_npy_header
    )
    *_, dtype = read_header(content)
    # Objects follow the header as a pickle, which NumPy would load without restrictions.
    if not dtype.hasobject:
        # The header has been consumed, and `np.load` needs it again.
        content.seek(0)
        return np.load(content, allow_pickle=False)
    value = _load_pickle(content)
    # `tolist` returns the object itself if the array has no axes.
    return value.tolist() if isinstance(value, np.ndarray) else value


def _read_later_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an `.npy` of format version 2.0 or later.

    Returns:
        Shape, whether the array is in Fortran order, and its type.
    """
    return np.lib.format.read_array_header_2_0(file)
