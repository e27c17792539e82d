"""Arrays and tensors of a pickle, rebuilt from their bytes and checked.

NumPy's and PyTorch's own functions trust the memory layout that a pickle states. The classes and
functions of this module take their place in `safe_unpickler`: they accept numbers, texts and plain
objects only, and refuse a layout that reaches beyond the stored bytes.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALLOWED_ARRAY_KINDS = "biufcUO"
"""NumPy kinds that arrays may have: booleans, numbers, texts, and objects that are plain values."""


class ForbiddenObjectError(Exception):
    """Raised when a pickle asks for a name or an operation that is not allowed."""


class DtypeStandIn:
    """A stand-in for `numpy.dtype` that rejects structured and unknown types.

    Attributes:
        dtype: The type itself.
    """

    def __init__(self, text: str, *_: Any) -> None:
        # A pickle passes a type code such as `f4`; structured types, which have names, are refused.
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _ALLOWED_ARRAY_KINDS or self.dtype.names:
            raise ForbiddenObjectError(f"numpy.dtype({text!r})")

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] in ("<", ">"):  # the byte order is the only part of the state that is used
            self.dtype = self.dtype.newbyteorder(state[1])


class ArrayStandIn:
    """A stand-in for `numpy.ndarray`, which a pickle creates empty and fills afterwards.

    Attributes:
        array: The array itself.
    """

    def __init__(self, *_: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        # NumPy's state of an array: version, shape, dtype, Fortran order, content.
        _, shape, dtype, fortran, content = state
        self.array = _build_array(content, dtype, shape, "F" if fortran else "C")


def _build_array(
    content: Any, dtype: DtypeStandIn, shape: Sequence[int], order: Any = "C"
) -> NDArray[Any]:
    """Build an array from bytes, or from a list of objects.

    Args:
        content: Bytes of the values, or the objects themselves.
        dtype: Type of the values.
        shape: Shape of the array; NumPy checks it against the size of the content.
        order: Memory order, `C` or `F`.

    Raises:
        ValueError: If the content does not have the size of the shape.
    """
    if dtype.dtype.kind == "O":
        # `np.array` would turn objects that are lists of equal lengths into further axes.
        array = np.empty(len(content), object)
        # Objects of an array may be stand-ins too, so they are converted as well.
        array[:] = [replace_stand_ins(item) for item in content]
    else:
        array = np.frombuffer(content, dtype.dtype)
    return array.reshape(tuple(shape), order=order)


def build_permuted_array(
    content: Any,
    dtype: DtypeStandIn,
    shape: Sequence[int],
    order: str,
    axes: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Build an array that was written with pickle protocol 5, whose axes may be permuted.

    Args:
        content: Bytes of the values, or the objects themselves.
        dtype: Type of the values.
        shape: Shape of the array, or of its memory if `order` is `K`.
        order: `C` or `F`; NumPy writes `K` for arrays with permuted axes.
        axes: Permutation of the axes that restores the array, if `order` is `K`.
    """
    if order == "K" and axes is not None:
        return _build_array(content, dtype, shape).transpose(tuple(axes))
    return _build_array(content, dtype, shape, order)


def build_scalar(dtype: DtypeStandIn, content: bytes) -> Any:
    """Build a NumPy scalar from its type and its bytes."""
    return _build_array(content, dtype, ())[()]


def load_tensor_storage(content: bytes) -> NDArray[Any]:
    """Load the storage of a tensor, which a pickle contains as the bytes of a `torch.save` file.

    Returns:
        Numbers of the storage, one-dimensional.
    """
    import torch  # takes seconds to import and is needed for pickled tensors only

    # `weights_only` makes PyTorch use its own restricted unpickler.
    storage: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    values = torch.tensor([], dtype=storage.dtype).set_(storage)
    # NumPy has no bfloat16; float32 has all of its values.
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def rebuild_tensor(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> NDArray[Any]:
    """Rebuild a tensor as an array, after checking that it stays within its storage.

    Args:
        storage: Numbers of the storage, one-dimensional.
        offset: Index of the first element.
        size: Shape of the tensor.
        stride: Number of elements between neighbors, for each dimension.

    Raises:
        ForbiddenObjectError: If the tensor reaches beyond its storage.
    """
    # `as_strided` does not check bounds, so a forged size would read other memory of the process.
    # This index is meaningless for a tensor without elements.
    last_index = offset + sum(
        (length - 1) * num_elements for length, num_elements in zip(size, stride, strict=True)
    )
    # A negative offset, size or stride would reach before the storage.
    if min([offset, *size, *stride]) < 0 or (0 not in size and last_index >= len(storage)):
        raise ForbiddenObjectError("a tensor beyond its storage")
    # `as_strided` counts in bytes. The copy detaches the array from the shared storage.
    strides_bytes = [num_elements * storage.itemsize for num_elements in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), strides_bytes).copy()


def replace_stand_ins(value: Any) -> Any:
    """Return a value with arrays in the place of their stand-ins.

    Dictionaries, lists and tuples of any depth are copied and become plain dictionaries and lists.
    """
    if isinstance(value, ArrayStandIn):
        return value.array
    if isinstance(value, dict):
        return {key: replace_stand_ins(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_stand_ins(item) for item in value]
    return value
