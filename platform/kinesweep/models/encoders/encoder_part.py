"""Encoders of other packages: built, and their outputs checked at each call.

A mask of another shape would be broadcast, and the decoder would read padding without an error. The
check is a forward hook, not a module around the encoder, so weights keep their names.

Shapes: B clips, T frames, E width of the output.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn

from kinesweep.config.parts import EncoderPart, build_part
from kinesweep.core.errors import InputError


def build_encoder_part(config: EncoderPart, width: int, out: int, *skeleton: Any) -> nn.Module:
    """Build the encoder of a package, called as `(config, width, out)`.

    Args:
        config: Section of the recipe.
        width: Values per frame.
        out: Width of the output vectors, E.
        *skeleton: Skeleton of the stream, for an encoder that reads one.

    Raises:
        InputError: If its package is not installed, or its class cannot be imported or built or is
            not a module.
    """
    encoder: nn.Module = build_part(
        config, (config, width, out, *skeleton), nn.Module, "torch.nn.Module"
    )
    encoder.register_forward_hook(partial(_check_output, config.kind, out))
    return encoder


def _check_output(kind: str, out: int, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    """Check that an encoder returned vectors of the right width, and their mask.

    Args:
        kind: Kind of the encoder.
        out: Width of the output vectors, E.
        inputs: Arguments of the call; the first are vectors (B, T, D).
        output: Result of the call.

    Raises:
        InputError: If it returned anything else.
    """
    num_clips = len(inputs[0])
    is_pair = isinstance(output, tuple) and len(output) == 2
    if is_pair and all(isinstance(item, Tensor) for item in output):
        x_BTE, mask_BT = output
        fits = x_BTE.ndim == 3 and x_BTE.shape[::2] == (num_clips, out)
        if fits and mask_BT.shape == x_BTE.shape[:2]:
            return
        found = f"tensors of shapes {tuple(x_BTE.shape)} and {tuple(mask_BT.shape)}"
    else:
        found = type(output).__name__
    raise InputError(
        f"the encoder `{kind}` must return vectors of shape ({num_clips}, T, {out}) and their mask"
        f" of shape ({num_clips}, T), but returned {found}"
    )
