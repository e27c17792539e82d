"""A network as data: a list of named operations over named weights, run one after the other.

What was traced elsewhere runs here with torch alone, without the code that built it and without
running anything that a file says: an operation is looked up in the table below, which holds pure
functions of tensors and whole numbers, and weights are safetensors. `torch.export`'s own files are
no such form: their weights may be pickles, which `torch.export.load` unpickles, and their sizes are
read by sympy, which evaluates text. Costs the lookups: under 1 ms for an encoder of 60 operations.

A program is a list of `[operation, arguments, keywords]`. An argument is a plain value, a list, or
one of `{"input": 0}`, `{"step": 3}` (what the fourth step gave), `{"weight": "linear.bias"}`,
`{"dtype": "float32"}`, `{"number": "-inf"}` (JSON has no infinities). What the last
step gives is the result.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kinesweep.core.errors import CheckpointError

_TENSORS = (
    *("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor", "neg.default", "rsub.Scalar"),
    *("add.Scalar", "sub.Scalar", "mul.Scalar", "div.Scalar", "pow.Tensor_Scalar"),
    *("reciprocal.default", "sqrt.default", "rsqrt.default", "exp.default", "log.default"),
    *("relu.default", "gelu.default", "glu.default", "sigmoid.default", "tanh.default"),
    *("silu.default", "elu.default", "leaky_relu.default", "softmax.int", "log_softmax.int"),
    *("linear.default", "matmul.default", "bmm.default", "mm.default", "addmm.default"),
    *("einsum.default", "conv1d.default", "conv2d.default", "conv1d.padding", "conv2d.padding"),
    *(
        "layer_norm.default",
        "batch_norm.default",
        "group_norm.default",
        "linalg_vector_norm.default",
    ),
    *("mean.dim", "mean.default", "sum.dim_IntList", "sum.default", "amax.default", "amin.default"),
    *("max_pool1d.default", "avg_pool1d.default", "avg_pool2d.default", "cumsum.default"),
    *("clamp.default", "clamp_min.default", "clamp_max.default", "maximum.default", "abs.default"),
    *("reshape.default", "flatten.using_ints", "unflatten.int", "expand.default"),
    *("expand_as.default", "transpose.int", "permute.default", "movedim.intlist", "t.default"),
    *("squeeze.dim", "squeeze.dims", "unsqueeze.default", "contiguous.default", "clone.default"),
    *("movedim.int", "repeat.default", "tile.default", "flip.default", "roll.default"),
    *("slice.Tensor", "select.int", "index_select.default", "gather.default", "narrow.default"),
    *("split.Tensor", "split_with_sizes.default", "chunk.default", "unbind.int", "diff.default"),
    *("cat.default", "stack.default", "pad.default", "constant_pad_nd.default"),
    *("where.self", "where.ScalarOther", "masked_fill.Scalar", "masked_fill.Tensor"),
    *("zeros.default", "ones.default", "full.default", "arange.default", "arange.start"),
    *("zeros_like.default", "ones_like.default", "full_like.default", "new_zeros.default"),
    *("new_ones.default", "scalar_tensor.default", "dropout.default", "feature_dropout.default"),
    *("eq.Scalar", "eq.Tensor", "ne.Scalar", "lt.Scalar", "lt.Tensor", "le.Scalar", "le.Tensor"),
    *("gt.Scalar", "gt.Tensor", "ge.Scalar", "ge.Tensor", "bitwise_not.default"),
    *("logical_not.default", "logical_and.default", "bitwise_and.Tensor", "bitwise_or.Tensor"),
    *(
        "any.default",
        "all.default",
        "any.dim",
        "all.dim",
        "to.dtype",
        "_to_copy.default",
        "floor_divide.default",
        "arange.start_step",
        "lift_fresh_copy.default",
    ),
    *("eye.default", "_native_batch_norm_legit_no_training.default"),
    *("alias.default", "detach.default", "sym_size.int", "scaled_dot_product_attention.default"),
)
"""What torch calls `aten.…`: functions of their arguments, none of which opens a file."""

_NUMBERS: Mapping[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "neg": operator.neg,
}
"""Sizes, and one of several results."""

OPERATIONS = frozenset({f"aten.{name}" for name in _TENSORS} | set(_NUMBERS))
"""All that a program may ask for."""

DTYPES = ("float32", "float64", "int64", "int32", "bool")


class Program:
    """Steps and weights, checked once and then called.

    Args:
        steps: as in the module's docstring.
        weights: name → tensor.
        where: the file, for messages.

    Raises:
        CheckpointError: a step names an unknown operation, a weight that is not there, or a step
            that has not run by then.
    """

    def __init__(
        self, steps: Sequence[Sequence[Any]], weights: Mapping[str, Tensor], where: str
    ) -> None:
        self._weights = dict(weights)
        self._where = where
        self._steps: list[tuple[Callable[..., Any], Any, Any]] = []
        if not steps:
            raise CheckpointError(f"`{where}` holds a program without a step; train it anew")
        for number, step in enumerate(steps):
            try:
                name, args, kwargs = step
                self._check([args, list(dict(kwargs).values())], number)
                self._steps.append((_function(name), args, dict(kwargs)))
            except (LookupError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"step {number} of the program in `{where}` cannot be run: {error}. Only what"
                    " this version writes is read; train it anew with `kinesweep embed`"
                ) from None

    def __call__(self, x: Tensor) -> Any:
        """What the last step gives for an input."""
        done: list[Any] = []
        with torch.inference_mode():
            for function, args, kwargs in self._steps:
                given = [self._value(arg, x, done) for arg in args]
                named = {key: self._value(arg, x, done) for key, arg in kwargs.items()}
                done.append(function(*given, **named))
        return done[-1]

    def _value(self, arg: Any, x: Tensor, done: list[Any]) -> Any:
        """An argument as the operation takes it."""
        if isinstance(arg, list):
            return [self._value(one, x, done) for one in arg]
        if not isinstance(arg, dict):
            return arg
        ((kind, what),) = arg.items()
        if kind == "step":
            return done[what]
        if kind == "dtype":
            return getattr(torch, what)
        if kind == "number":
            return float(what)
        return x if kind == "input" else self._weights[what]

    def _check(self, arg: Any, number: int) -> None:
        """Refuses what `_value` could not find."""
        if isinstance(arg, list):
            for one in arg:
                self._check(one, number)
        elif isinstance(arg, dict):
            ((kind, what),) = arg.items()
            known = {
                "input": what == 0,
                "step": isinstance(what, int) and 0 <= what < number,
                "weight": what in self._weights,
                "dtype": what in DTYPES,
                "number": what in ("inf", "-inf"),
            }
            if not known.get(kind, False):
                raise LookupError(f"there is no {kind} `{what}`")
        elif not isinstance(arg, str | int | float | None):
            raise TypeError(f"`{arg}` is no argument")


def _function(name: str) -> Callable[..., Any]:
    """An operation of the table."""
    if name not in OPERATIONS:
        raise LookupError(f"there is no operation `{name}`")
    if name in _NUMBERS:
        return _NUMBERS[name]
    packet, overload = name.removeprefix("aten.").split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)
