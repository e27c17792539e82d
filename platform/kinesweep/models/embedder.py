"""The frame embedder: any encoder that keeps frames, a projection, and unit length.

One vector a frame leaves, so that frames of two clips can be compared by their cosine. Length 1
bounds distances to 2, which the temperatures of both objectives rest on; it costs the one thing
that a length could say, how sure the network is. `program_of` writes the trained network as data
(`features.program`), for readers that know nothing of encoders.

Shapes: B clips, T frames, D features, E width of an embedding.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn import functional

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.model import EncoderConfig
from kinesweep.core.skeleton import Skeleton
from kinesweep.features.program import OPERATIONS, Program
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph import GraphEncoder
from kinesweep.models.encoders.reel import Reel

_TRACED_FRAMES, _FEWEST = 23, 16
"""A length, and what tracing may rest on; below it hold the values, not the layout in memory."""
_TRIED = (1, 2, 3, 40)
"""Lengths at which what was traced is held against the network."""
_ANY_LAYOUT = dict.fromkeys(
    ("aten.view.default", "aten._unsafe_view.default"), "aten.reshape.default"
)
"""Tracing knows how values lay in memory then; kernels for other lengths lay them otherwise."""
_UNUSED = {"device", "layout", "pin_memory", "memory_format"}
"""Where a result lies: readers keep theirs."""


class FrameEmbedder(nn.Module):
    """Frames in, unit vectors out.

    Args:
        config: of the encoder.
        width: D.
        hidden: what leaves the encoder.
        out: E.
        skeleton: of the stream's points; graph encoders need it.

    Raises:
        ConfigError: a graph encoder without a skeleton, or with one that does not fit.
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
        """Returns (B, T, E), each frame of length 1 and padding 0.

        Raises:
            InputError: the encoder does not keep every frame.
        """
        x_BTE, kept_BT = self.encoder(x_BTD, mask_BT)
        if kept_BT.shape != mask_BT.shape:
            raise InputError(
                f"The encoder made {kept_BT.shape[1]} vectors of {mask_BT.shape[1]} frames, but an"
                " embedder keeps every frame; set its `downsample` or `strides` to 1."
            )
        e_BTE = functional.normalize(self.projection(x_BTE), dim=2)
        return e_BTE.masked_fill(~mask_BT[:, :, None], 0)


class _OneClip(nn.Module):
    """The embedder of a clip alone, which has no padding."""

    def __init__(self, network: FrameEmbedder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_TD: Tensor) -> Tensor:
        """Returns (T, E)."""
        x_BTD = x_TD[None]
        encoder = self.network.encoder
        if isinstance(encoder, GraphEncoder):  # its reel looks frames up, which cannot be traced
            reel = _WholeClip(x_BTD)
            x_NVW = encoder.network(encoder.begin(x_BTD, reel), reel, encoder.graphs)
            x_TE = encoder.project(x_NVW.mean(dim=1))
            return functional.normalize(self.network.projection(x_TE), dim=1)
        mask_BT = torch.ones_like(x_BTD[:, :, 0], dtype=torch.bool)
        return self.network(x_BTD, mask_BT)[0]


class _WholeClip(Reel):
    """The reel of one clip alone: every frame is real and in its place."""

    def __init__(self, x_BTD: Tensor) -> None:
        self.lengths = [x_BTD.shape[1]]

    def pack(self, x_BTVC: Tensor) -> Tensor:
        return x_BTVC[0]

    def spread(self, x_NVC: Tensor) -> Tensor:
        return x_NVC[None]

    def mean(self, x_NVC: Tensor) -> Tensor:
        return x_NVC.mean(dim=0, keepdim=True)

    def convolve(self, x_NVC: Tensor, convolution: nn.Conv2d) -> Tensor:
        return convolution(x_NVC.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def program_of(network: FrameEmbedder, width: int) -> tuple[list[list[Any]], dict[str, Tensor]]:
    """The network as a program and its weights (`features.program`).

    Args:
        network: trained; it is put into evaluation mode.
        width: D.

    Raises:
        InputError: it uses an operation that programs do not have.
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
    weights = {name: tensors[name].detach().clone().contiguous() for name in sorted(used)}
    _check(Program(steps, weights, "the embedder"), network, width)
    return steps, weights


def _traced(network: FrameEmbedder, width: int) -> ExportedProgram:
    """One clip's way through the network, of any length."""
    frames = torch.export.Dim("frames", min=_FEWEST)
    example = (torch.zeros(_TRACED_FRAMES, width),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own
        traced = torch.export.export(_OneClip(network), example, dynamic_shapes=({0: frames},))
        return traced.run_decompositions({})


@torch.no_grad()
def _check(program: Program, network: FrameEmbedder, width: int) -> None:
    """Holds the program against the network that it was made of."""
    for num_frames in _TRIED:
        x_TD = torch.arange(num_frames * width).reshape(num_frames, width).cos()
        mask_BT = torch.ones(1, num_frames, dtype=torch.bool)
        torch.testing.assert_close(
            program(x_TD), network(x_TD[None], mask_BT)[0], atol=1e-5, rtol=0
        )


def _needed(nodes: Any) -> list[Node]:
    """The nodes that the output depends on, in order; checks of sizes are left out."""
    every = list(nodes)
    wanted = set(every[-1].all_input_nodes)
    for node in reversed(every):
        if node in wanted:
            wanted |= set(node.all_input_nodes)
    return [node for node in every if node in wanted]


def _operation(node: Node) -> str:
    """Its name in the table of operations."""
    target: Any = node.target
    name = str(target) if isinstance(target, torch._ops.OpOverload) else target.__name__
    name = _ANY_LAYOUT.get(name, name)
    if name not in OPERATIONS:
        raise InputError(
            f"The encoder uses `{name}`, which an exported embedder cannot hold. Use another"
            " `encoder`, or add the operation to `features/program.py`."
        )
    return name


def _plain(arg: Any, values: dict[Node, Any]) -> Any:
    """An argument as JSON holds it."""
    if isinstance(arg, Node):
        return values[arg]
    if isinstance(arg, list | tuple):
        return [_plain(one, values) for one in arg]
    if isinstance(arg, torch.dtype):
        return {"dtype": str(arg).removeprefix("torch.")}
    if isinstance(arg, float) and math.isinf(arg):
        return {"number": str(arg)}
    return arg
