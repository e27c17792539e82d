"""The frame embedder: an encoder that keeps every frame, a projection and normalization.

It returns one unit vector per frame, so frames of two clips can be compared by cosine similarity.
Unit length bounds distances to 2, on which the temperatures of both objectives rely; the price is
that a vector's length cannot express how certain the network is. `program_of` exports the trained
network as data (`features.program`), which can be run without the encoder classes.

Shapes: B clips, T frames, D features, E embedding width.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn import functional

from kinesweep.config.recipe.model import EncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.features.traced_network import OPERATIONS, Program
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.encoders.packed_frames import Reel

# Number of frames of the traced example, and the lower bound that tracing may rely on. Below the
# bound values are correct, but the traced memory layout may not be.
_TRACED_FRAMES, _FEWEST = 23, 16
# Clip lengths at which the exported program is compared with the network.
_TRIED = (1, 2, 3, 40)
# Traced views rely on the memory layout of the traced example. Kernels may choose another layout
# for other lengths, so views are exported as reshapes, which accept any.
_ANY_LAYOUT = dict.fromkeys(
    ("aten.view.default", "aten._unsafe_view.default"), "aten.reshape.default"
)
# Arguments that say where and how a result is stored; the program's runtime decides this itself.
_UNUSED = {"device", "layout", "pin_memory", "memory_format"}


class FrameEmbedder(nn.Module):
    """A network from frames to unit vectors.

    Args:
        config: Config of the encoder.
        width: Input width D.
        hidden: Output width of the encoder.
        out: Embedding width E.
        skeleton: Skeleton of the stream's points; required by graph encoders.

    Raises:
        ConfigError: If a graph encoder has no skeleton, or one that does not fit.
    """

    def __init__(
        self,
        config: EncoderConfig,
        width: int,
        hidden: int,
        out: int,
        skeleton: Skeleton | None = None,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(config, width, hidden, skeleton)
        self.projection = nn.Linear(hidden, out)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return (B, T, E): unit vectors for real frames, zeros for padding.

        Raises:
            InputError: If the encoder does not keep every frame.
        """
        x_BTE, kept_BT = self.encoder(x_BTD, mask_BT)
        if kept_BT.shape != mask_BT.shape:
            raise InputError(
                f"The encoder made {kept_BT.shape[1]} vectors of {mask_BT.shape[1]} frames, but an"
                " embedder must keep every frame; set the encoder's `downsample` or `strides` to 1."
            )
        e_BTE = functional.normalize(self.projection(x_BTE), dim=2)
        return e_BTE.masked_fill(~mask_BT[:, :, None], 0)


class _OneClip(nn.Module):
    """The embedder for a single clip without padding, in a form that can be traced."""

    def __init__(self, network: FrameEmbedder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_TD: Tensor) -> Tensor:
        """Return (T, E)."""
        x_BTD = x_TD[None]
        encoder = self.network.encoder
        if isinstance(encoder, GraphEncoder):  # `Reel` indexes by mask, which cannot be traced
            reel = _WholeClip(x_BTD)
            x_NVW = encoder.network(encoder.preprocess(x_BTD, reel), reel, encoder.graphs)
            x_TE = encoder.project(x_NVW.mean(dim=1))
            return functional.normalize(self.network.projection(x_TE), dim=1)
        mask_BT = torch.ones_like(x_BTD[:, :, 0], dtype=torch.bool)
        return self.network(x_BTD, mask_BT)[0]


class _WholeClip(Reel):
    """A stand-in for the `Reel` of a single clip, where every frame is real and in its place."""

    def __init__(self, x_BTD: Tensor) -> None:
        self.lengths = [x_BTD.shape[1]]

    def pack(self, x_BTVC: Tensor) -> Tensor:
        """Return (N, …); see `Reel.pack`."""
        return x_BTVC[0]

    def spread(self, x_NVC: Tensor) -> Tensor:
        """Return (1, T, …); see `Reel.spread`."""
        return x_NVC[None]

    def mean(self, x_NVC: Tensor) -> Tensor:
        """Return (1, …); see `Reel.mean`."""
        return x_NVC.mean(dim=0, keepdim=True)

    def convolve(self, x_NVC: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Return (N, V, C'); see `Reel.convolve`."""
        return convolution(x_NVC.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def program_of(network: FrameEmbedder, width: int) -> tuple[list[list[Any]], dict[str, Tensor]]:
    """Export a network as the steps and weights of a program (`features.program`).

    Args:
        network: Trained embedder; it is switched to evaluation mode.
        width: Input width D.

    Returns:
        The steps, each a list of operation, arguments and keyword arguments, and the weights by
        name.

    Raises:
        InputError: If the network uses an operation that programs do not support.
    """
    traced = _traced(network.eval(), width)
    signature = traced.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors = {**traced.state_dict, **traced.constants}
    values: dict[Node, Any] = {}
    steps: list[list[Any]] = []
    for node in _needed(traced.graph.nodes):
        if node.op == "placeholder":
            # Placeholders are the parameters, buffers and constants, and the one real input.
            named = names.get(node.name)
            values[node] = {"input": 0} if named is None else {"weight": named}
        else:
            kwargs = {k: v for k, v in node.kwargs.items() if k not in _UNUSED and v is not None}
            values[node] = {"step": len(steps)}
            steps.append(
                [
                    _operation(node),
                    [_plain(arg, values) for arg in node.args],
                    {key: _plain(arg, values) for key, arg in kwargs.items()},
                ]
            )
    used = {one["weight"] for one in values.values() if "weight" in one}
    # Copies, because the traced tensors share memory with the network.
    weights = {name: tensors[name].detach().clone().contiguous() for name in sorted(used)}
    _check(Program(steps, weights, "the embedder"), network, width)
    return steps, weights


def _traced(network: FrameEmbedder, width: int) -> ExportedProgram:
    """Trace the network on one clip of variable length."""
    frames = torch.export.Dim("frames", min=_FEWEST)
    example = (torch.zeros(_TRACED_FRAMES, width),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch warns about its own code
        traced = torch.export.export(_OneClip(network), example, dynamic_shapes=({0: frames},))
        # Decompose into the small set of core operations that `features.program` implements.
        return traced.run_decompositions({})


@torch.no_grad()
def _check(program: Program, network: FrameEmbedder, width: int) -> None:
    """Check that the program computes what the network computes, within 1e-5."""
    for num_frames in _TRIED:
        x_TD = torch.arange(num_frames * width).reshape(num_frames, width).cos()
        mask_BT = torch.ones(1, num_frames, dtype=torch.bool)
        torch.testing.assert_close(
            program(x_TD), network(x_TD[None], mask_BT)[0], atol=1e-5, rtol=0
        )


def _needed(nodes: Any) -> list[Node]:
    """Return the nodes that the output depends on, in order.

    Assertions about sizes, which tracing inserts, are dropped this way.
    """
    every = list(nodes)
    wanted = set(every[-1].all_input_nodes)
    for node in reversed(every):
        if node in wanted:
            wanted |= set(node.all_input_nodes)
    return [node for node in every if node in wanted]


def _operation(node: Node) -> str:
    """Return the operation's name in the table of operations."""
    target: Any = node.target
    name = str(target) if isinstance(target, torch._ops.OpOverload) else target.__name__
    name = _ANY_LAYOUT.get(name, name)
    if name not in OPERATIONS:
        raise InputError(
            f"The encoder uses `{name}`, which an exported embedder does not support. Use another"
            " `encoder`, or add the operation to `features/program.py`."
        )
    return name


def _plain(arg: Any, values: dict[Node, Any]) -> Any:
    """Return an argument as a value that JSON can represent."""
    if isinstance(arg, Node):
        return values[arg]
    if isinstance(arg, list | tuple):
        return [_plain(one, values) for one in arg]
    if isinstance(arg, torch.dtype):
        return {"dtype": str(arg).removeprefix("torch.")}
    # JSON has no infinity.
    if isinstance(arg, float) and math.isinf(arg):
        return {"number": str(arg)}
    return arg
