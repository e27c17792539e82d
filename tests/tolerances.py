"""The comparisons of `kinesweep.testing`, under the name by which tests import them."""

from kinesweep.testing.tolerances import (
    EPS32,
    FLOAT64,
    assert_same,
    assert_same_weights,
    float64,
    rounding,
)

__all__ = ["EPS32", "FLOAT64", "assert_same", "assert_same_weights", "float64", "rounding"]
