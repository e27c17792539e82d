"""The frame embedder: an encoder that keeps every frame, a projection and normalization.

It returns one unit vector per frame, so frames of two clips can be compared by cosine similarity.
Unit length bounds distances to 2, on which the temperatures of both losses rely; the price is
that a vector's length cannot express how certain the network is. `export_program` exports the
trained network as data (`features.traced_network`), which can be run without the encoder classes.

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

from kinesweep.config.recipe.model.encoders import EncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.features.traced_network import OPERATIONS, TracedNetwork
from kinesweep.models.encoders import build_encoder
from kinesweep.models.encoders.graph_encoder import GraphEncoder
from kinesweep.models.encoders.packed_frames import FramePacker

# Number of frames of the traced example, and the lower bound that tracing may rely on. Below the
# bound values are correct, but the traced memory layout may not be.
_NUM_TRACED_FRAMES, _MIN_FRAMES = 23, 16
# Clip lengths at which the exported program is compared with the network.
_CHECKED_LENGTHS = (1, 2, 3, 40)
# Traced views rely on the memory layout of the traced example. Kernels may choose another layout
# for other lengths, so views are exported as reshapes, which accept any.
_LAYOUT_INDEPENDENT_OPERATIONS = dict.fromkeys(
    ("aten.view.default", "aten._unsafe_view.default"), "aten.reshape.default"
)
# Arguments that say where and how a result is stored; the program's runtime decides this itself.
_IGNORED_ARGUMENTS = {"device", "layout", "pin_memory", "memory_format"}


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
        """Embed each frame as a unit vector; returns (B, T, E), zeros at padding.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.

        Raises:
            InputError: If the encoder does not keep every frame.
        """
        x_BTE, encoder_mask_BT = self.encoder(x_BTD, mask_BT)
        if encoder_mask_BT.shape != mask_BT.shape:
            raise InputError(
                f"The encoder made {encoder_mask_BT.shape[1]} vectors of {mask_BT.shape[1]} frames,"
                " but an embedder must keep every frame; set the encoder's `downsample` or"
                " `strides` to 1."
            )
        e_BTE = functional.normalize(self.projection(x_BTE), dim=2)
        return e_BTE.masked_fill(~mask_BT[:, :, None], 0)


class _SingleClipEmbedder(nn.Module):
    """The embedder for a single clip without padding, in a form that can be traced."""

    def __init__(self, network: FrameEmbedder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_TD: Tensor) -> Tensor:
        """Embed each frame of a clip without padding as a unit vector; returns (T, E)."""
        x_BTD = x_TD[None]
        encoder = self.network.encoder
        if isinstance(encoder, GraphEncoder):  # a `FramePacker` cannot be traced
            packer = _SingleClipPacker(x_BTD)
            x_NVW = encoder.network(encoder.preprocess(x_BTD, packer), packer, encoder.graphs)
            x_TE = encoder.project(x_NVW.mean(dim=1))
            return functional.normalize(self.network.projection(x_TE), dim=1)
        mask_BT = torch.ones_like(x_BTD[:, :, 0], dtype=torch.bool)
        return self.network(x_BTD, mask_BT)[0]


class _SingleClipPacker(FramePacker):
    """The `FramePacker` of a single clip without padding, in a form that can be traced."""

    def __init__(self, x_BTD: Tensor) -> None:
        self.lengths = [x_BTD.shape[1]]

    def pack(self, x_BTVC: Tensor) -> Tensor:
        """Return the frames of the only clip of a batch (1, T, …), as (T, …)."""
        return x_BTVC[0]

    def unpack(self, x_NVC: Tensor) -> Tensor:
        """Return the frames (T, …) as a batch of one clip, (1, T, …)."""
        return x_NVC[None]

    def average_per_clip(self, x_NVC: Tensor) -> Tensor:
        """Average the frames (T, …) of the only clip; returns (1, …)."""
        return x_NVC.mean(dim=0, keepdim=True)

    def convolve_frames(self, x_NVC: Tensor, convolution: nn.Conv2d) -> Tensor:
        """Convolve the frames of the only clip over time, each point separately; (T, V, C')."""
        return convolution(x_NVC.permute(2, 0, 1)[None])[0].permute(1, 2, 0)


def export_program(network: FrameEmbedder, width: int) -> tuple[list[list[Any]], dict[str, Tensor]]:
    """Export a network as the steps and weights of a program (`features.traced_network`).

    Args:
        network: Trained embedder; it is switched to evaluation mode.
        width: Input width D.

    Returns:
        The steps in the order of execution, each a list of operation, arguments and keyword
        arguments, and the weights by name.

    Raises:
        InputError: If the network uses an operation that programs do not support.
        AssertionError: If program and network disagree, which is a bug.
    """
    exported = _trace_network(network.eval(), width)
    signature = exported.graph_signature
    weight_names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    tensors = {**exported.state_dict, **exported.constants}
    values: dict[Node, Any] = {}
    steps: list[list[Any]] = []
    for node in _select_needed_nodes(exported.graph.nodes):
        if node.op == "placeholder":
            # Placeholders are the parameters, buffers and constants, and the one real input.
            weight_name = weight_names.get(node.name)
            values[node] = {"input": 0} if weight_name is None else {"weight": weight_name}
        else:
            kwargs = {
                name: arg
                for name, arg in node.kwargs.items()
                if name not in _IGNORED_ARGUMENTS and arg is not None
            }
            values[node] = {"step": len(steps)}
            steps.append(
                [
                    _get_operation_name(node),
                    [_to_json_value(arg, values) for arg in node.args],
                    {name: _to_json_value(arg, values) for name, arg in kwargs.items()},
                ]
            )
    used_names = {value["weight"] for value in values.values() if "weight" in value}
    # Copies, because the traced tensors share memory with the network.
    weights = {name: tensors[name].detach().clone().contiguous() for name in sorted(used_names)}
    _check_program(TracedNetwork(steps, weights, "the embedder"), network, width)
    return steps, weights


def _trace_network(network: FrameEmbedder, width: int) -> ExportedProgram:
    """Trace the network as a program of core operations for one clip of any length.

    Args:
        network: Embedder in evaluation mode.
        width: Input width D.
    """
    frames = torch.export.Dim("frames", min=_MIN_FRAMES)
    example = (torch.zeros(_NUM_TRACED_FRAMES, width),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch warns about its own code
        exported = torch.export.export(
            _SingleClipEmbedder(network), example, dynamic_shapes=({0: frames},)
        )
        # Decompose into the small set of core operations that `traced_network` implements.
        return exported.run_decompositions({})


@torch.no_grad()
def _check_program(program: TracedNetwork, network: FrameEmbedder, width: int) -> None:
    """Check that the outputs of program and network agree within 1e-5 for several lengths.

    Raises:
        AssertionError: If they differ.
    """
    for num_frames in _CHECKED_LENGTHS:
        x_TD = torch.arange(num_frames * width).reshape(num_frames, width).cos()
        mask_BT = torch.ones(1, num_frames, dtype=torch.bool)
        torch.testing.assert_close(
            program(x_TD), network(x_TD[None], mask_BT)[0], atol=1e-5, rtol=0
        )


def _select_needed_nodes(nodes: Any) -> list[Node]:
    """Select the nodes that the output depends on, in the order of execution.

    Assertions about sizes, which tracing inserts, are dropped this way.
    """
    all_nodes = list(nodes)
    needed = set(all_nodes[-1].all_input_nodes)
    for node in reversed(all_nodes):
        if node in needed:
            needed |= set(node.all_input_nodes)
    return [node for node in all_nodes if node in needed]


def _get_operation_name(node: Node) -> str:
    """Return the name of a node's operation in the table `OPERATIONS`.

    Raises:
        InputError: If the table does not contain the operation.
    """
    target: Any = node.target
    name = str(target) if isinstance(target, torch._ops.OpOverload) else target.__name__
    name = _LAYOUT_INDEPENDENT_OPERATIONS.get(name, name)
    if name not in OPERATIONS:
        raise InputError(
            f"The encoder uses `{name}`, which an exported embedder does not support. Use another"
            " `encoder`, or add the operation to `features/traced_network.py`."
        )
    return name


def _to_json_value(arg: Any, values: dict[Node, Any]) -> Any:
    """Convert an argument of an operation to a value that JSON can represent.

    Args:
        arg: Node, list, dtype, number or other plain value.
        values: Node → reference to an input, a weight or an earlier step.
    """
    if isinstance(arg, Node):
        return values[arg]
    if isinstance(arg, list | tuple):
        return [_to_json_value(item, values) for item in arg]
    if isinstance(arg, torch.dtype):
        return {"dtype": str(arg).removeprefix("torch.")}
    # JSON has no infinity.
    if isinstance(arg, float) and math.isinf(arg):
        return {"number": str(arg)}
    return arg
