"""Traced networks as data: a list of named operations over named weights, executed in order.

A traced network runs with torch alone, without the code that built it and without executing code
from a file: operations are looked up in the table below, which holds pure functions of tensors and
integers, and weights are stored as safetensors. The files of `torch.export` are not safe in this
way: `torch.export.load` may unpickle their weights, and sympy evaluates text to read their sizes.
The lookups take less than 1 ms for an encoder of 60 operations.

A program is a list of `[operation, arguments, keywords]`. An argument is a plain value, a list, or
one of `{"input": 0}`, `{"step": 3}` (the result of the fourth step), `{"weight": "linear.bias"}`,
`{"dtype": "float32"}` and `{"number": "-inf"}` (JSON has no infinities). The result of the last
step is the result of the program.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kinesweep.core.errors import CheckpointError

# Operators that torch calls `aten.…`. This table is the security boundary: every entry must be a
# pure function of its arguments and must not access files, the network or Python code.
_TENSOR_OPERATIONS = (
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

# Arithmetic on sizes; `getitem` selects one of several results of a step.
_NUMBER_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "neg": operator.neg,
}

# All operations that a program may use.
OPERATIONS = frozenset({f"aten.{name}" for name in _TENSOR_OPERATIONS} | set(_NUMBER_OPERATIONS))

DTYPES = ("float32", "float64", "int64", "int32", "bool")


class TracedNetwork:
    """A traced network, checked when it is created; calling it runs the network.

    Args:
        steps: Steps in the format of the module's docstring.
        weights: Name → tensor.
        path: Path of the file that describes the network, for error messages.

    Raises:
        CheckpointError: If there are no steps, or if a step is malformed or names an unknown
            operation, a missing weight or a step that does not come before it.
    """

    def __init__(
        self, steps: Sequence[Sequence[Any]], weights: Mapping[str, Tensor], path: str
    ) -> None:
        self._weights = dict(weights)
        self._path = path
        self._steps: list[tuple[Callable[..., Any], Any, Any]] = []
        if not steps:
            raise CheckpointError(
                f"the program in `{path}` has no steps; train the embedder again with"
                " `kinesweep train-embedder`"
            )
        # Everything is checked before the first call, so a faulty file runs no step at all.
        for step_index, step in enumerate(steps):
            try:
                name, args, kwargs = step
                self._check_argument([args, list(dict(kwargs).values())], step_index)
                self._steps.append((_get_operation(name), args, dict(kwargs)))
            except (LookupError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"step {step_index} of the program in `{path}` cannot be executed: {error}. It"
                    " was probably written by another version; train the embedder again with"
                    " `kinesweep train-embedder`"
                ) from None

    def __call__(self, x: Tensor) -> Any:
        """Run all steps on the input of the network and return the result of the last step."""
        # Results are addressed by step index, so all of them are kept until the end.
        results: list[Any] = []
        with torch.inference_mode():
            for function, args, kwargs in self._steps:
                positional = [self._resolve_argument(arg, x, results) for arg in args]
                keywords = {
                    key: self._resolve_argument(arg, x, results) for key, arg in kwargs.items()
                }
                results.append(function(*positional, **keywords))
        return results[-1]

    def _resolve_argument(self, arg: Any, x: Tensor, results: list[Any]) -> Any:
        """Resolve an argument to the value that is passed to the operation.

        Args:
            arg: Argument in the format of the module's docstring.
            x: Input of the network.
            results: Results of the preceding steps.
        """
        if isinstance(arg, list):
            return [self._resolve_argument(item, x, results) for item in arg]
        if not isinstance(arg, dict):
            return arg
        ((kind, value),) = arg.items()
        if kind == "step":
            return results[value]
        if kind == "dtype":
            return getattr(torch, value)
        if kind == "number":
            return float(value)
        return x if kind == "input" else self._weights[value]

    def _check_argument(self, arg: Any, step_index: int) -> None:
        """Check that `_resolve_argument` can resolve an argument of the step at `step_index`.

        Raises:
            LookupError: If the argument refers to something that does not exist.
            ValueError: If a dict has another number of entries than one.
            TypeError: If the argument has a type that is not supported.
        """
        if isinstance(arg, list):
            for item in arg:
                self._check_argument(item, step_index)
        elif isinstance(arg, dict):
            ((kind, value),) = arg.items()
            # `dtype` is restricted to a list because it is passed to `getattr(torch, …)`.
            is_valid_by_kind = {
                "input": value == 0,
                # Only earlier steps: their results exist, and a program cannot contain a cycle.
                "step": isinstance(value, int) and 0 <= value < step_index,
                "weight": value in self._weights,
                "dtype": value in DTYPES,
                "number": value in ("inf", "-inf"),
            }
            if not is_valid_by_kind.get(kind, False):
                raise LookupError(f"there is no {kind} `{value}`")
        elif not isinstance(arg, str | int | float | None):
            raise TypeError(f"`{arg}` is not a valid argument")


def _get_operation(name: str) -> Callable[..., Any]:
    """Return the function of the operation with this name.

    Raises:
        LookupError: If the name is not in `OPERATIONS`.
    """
    # Must come before `getattr`: other names in `torch.ops.aten` may have side effects.
    if name not in OPERATIONS:
        raise LookupError(f"the operation `{name}` is not supported")
    if name in _NUMBER_OPERATIONS:
        return _NUMBER_OPERATIONS[name]
    packet, overload = name.removeprefix("aten.").split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)
