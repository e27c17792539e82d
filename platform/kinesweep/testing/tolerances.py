"""Numerical comparisons whose bounds hold on every processor.

Kernels of one operation round differently from processor to processor: vectors are wider, a
product and a sum are fused or not, a long sum is taken in another order. A network may enlarge such
differences (T5 does not scale its scores), so an absolute float32 bound that holds on one processor
can fail on the next. Tests that prove arithmetic therefore compute in float64 (fixture `float64`)
and compare with `assert_same`. Its bound lies six decades above float64's rounding, which is room
for any processor, and far below what wrong padding, a wrong mask or a wrong weight changes (1e-3
and more of the values' size).

Where float32 itself is the point, `rounding` derives the bound from what is computed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

EPS32 = float(np.finfo(np.float32).eps)
"""1.19e-7: relative distance between neighbours; one operation is wrong by half of it at most."""
FLOAT64 = """
import torch, safetensors.torch  # which keeps a table of PyTorch's own types
torch.set_default_dtype(torch.float64)
torch.float32, torch.Tensor.float = torch.float64, torch.Tensor.double
"""
"""The first lines of a script that computes in float64, as a test with the fixture does."""


def compute_in_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in float64 throughout, parts that ask for float32 by name included.

    Hugging Face's norms and softmaxes and our statistics are taken in float32 whatever a model's
    type is, to be exact where weights are of 16 bits; here they would be the least exact part.
    """
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute in float64 throughout a test."""
    yield from compute_in_float64(monkeypatch)


def assert_same(found: Any, wanted: Any, share: float = 1e-9) -> None:
    """Assert that arrays computed in float64 differ by no more than a share of their size.

    Args:
        found: Array, tensor or number, in float64.
        wanted: As `found`, of the same shape.
        share: Largest difference allowed, as a share of the largest absolute value wanted. A value
            near 0 that is a difference of large ones is as wrong as they are, so the bound is not
            relative to each value.
    """
    found, wanted = (_float64(values) for values in (found, wanted))
    assert found.shape == wanted.shape, f"shape {found.shape} instead of {wanted.shape}"
    bound = share * np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


def assert_same_weights(
    found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> None:
    """Assert that weights trained in float64 are the same, relative to the largest of them.

    Not one by one: AdamW moves a weight whose gradient is 0 by the rounding of that gradient over
    epsilon (keys' biases, which no softmax sees), so those agree to 1e-9 of the others alone.
    """
    assert found.keys() == wanted.keys()
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in wanted.items()
    }
    joined = [torch.cat([w[name].flatten() for name in wanted]) for w in (found, wanted)]
    assert_same(joined[0], joined[1])


def rounding(operations: int, size: float) -> float:
    """Return the most that float32 operations in a row can be wrong by.

    Args:
        operations: Number of operations, such as the terms of a sum, that one value goes through.
        size: Largest absolute value among operands and results.
    """
    return operations * EPS32 * size


def _float64(values: Any) -> np.ndarray:
    """Return float64 values as an array; float32 ones would hide behind a bound of float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    assert array.dtype == np.float64, f"computed in {array.dtype}"
    return array
