"""A lower bound of the memory that a batch takes, from lengths and sizes alone.

A single recording that was never cut into clips (53,214 frames) took more than 22 GB in training,
and the kernel killed the largest process of the machine. The estimate counts what certainly lies in
the memory at one time: the features, a few values per vector and layer that the backward pass needs
(Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", count
17 widths; 8 are counted here), and the scores of the attention where its kernel stores them.
Weights, gradients and the optimizer are left out. Whoever exceeds this bound cannot be trained.

Shapes: B clips, T frames, D width, N vectors, E width of the backbone, H heads, L layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinesweep.core.schema import StoreSchema
from kinesweep.models.translator import Translator

_KEPT_WIDTHS = 8
"""Number of kept values per vector and layer, in widths E; a lower bound."""

_LOCAL_ATTENTION_SETTINGS = ("attention_window", "local_radius", "block_size")
"""Settings of architectures that compare neighboring vectors only: LED and Longformer, LongT5,
BigBird. Their scores grow with N, so they are left out of a lower bound."""


@dataclass(frozen=True)
class BatchMemory:
    """The parts of the memory of a batch in bytes.

    Attributes:
        features: Padded features.
        activations: Values that are kept for the backward pass.
        attention: Attention scores over all pairs of vectors.
        num_vectors: Number of vectors of the longest clip, N.
        vision: Values that the vision model keeps for the backward pass.
    """

    features: int
    activations: int
    attention: int
    num_vectors: int
    vision: int = 0

    @property
    def total(self) -> int:
        """Return the sum of all parts in bytes."""
        return self.features + self.activations + self.attention + self.vision


def estimate_batch_memory(
    model: Translator,
    num_clips: int,
    lengths: Mapping[str, int],
    schema: StoreSchema,
    *,
    is_training: bool,
    value_bytes: int = 4,
    checkpoints_layers: bool = False,
) -> BatchMemory:
    """Estimate a lower bound of the memory of one batch of clips of equal length.

    Args:
        model: Translator; its device decides on the kernel of the attention.
        num_clips: Number of clips, B.
        lengths: Stream → number of frames, T, with padding.
        schema: Schema of the store; pixels take one byte per value, numbers four.
        is_training: Whether a backward pass follows.
        value_bytes: Size of an activation: 4 for fp32, 2 for bf16 and fp16.
        checkpoints_layers: Whether activations are computed again for the backward pass
            (`training.activation_checkpointing`).
    """
    bytes_per_clip = sum(
        lengths.get(name, 0) * stream.batch_bytes_per_frame
        for name, stream in schema.streams.items()
    )
    num_vectors = _count_vectors(model, lengths)
    # One layer is alive at a time without a backward pass, or if its activations are not kept.
    keeps_layers = is_training and not checkpoints_layers
    num_layers = max(1, _read_size(model, "num_hidden_layers")) if keeps_layers else 1
    kept_widths = _KEPT_WIDTHS if is_training else 2
    num_scores = num_clips * _read_size(model, "num_attention_heads") * num_vectors**2
    return BatchMemory(
        features=num_clips * bytes_per_clip,
        activations=num_clips
        * num_vectors
        * _read_size(model, "hidden_size")
        * kept_widths
        * num_layers
        * value_bytes,
        attention=num_scores * num_layers * value_bytes * _count_stored_scores(model, is_training),
        num_vectors=num_vectors,
        vision=sum(
            _estimate_vision_bytes(model, num_clips * lengths.get(name, 0), is_training)
            for name in model.config.get_frame_streams()
        )
        * value_bytes,
    )


def _estimate_vision_bytes(model: Translator, num_frames: int, is_training: bool) -> int:
    """Estimate how many values the vision model keeps for the frames of one stream.

    Counted are the inputs of its layers, one vector per patch, each frame once. Without a backward
    pass or with gradient checkpointing only one chunk is alive, which is left out of the bound; so
    are networks whose configuration does not state patches, width and layers.

    Args:
        model: Translator with a vision model.
        num_frames: Number of frames of the batch with padding.
        is_training: Whether a backward pass follows.
    """
    vision = model.vision
    if vision is None or not is_training or not vision.keeps_activations:
        return 0
    config: Any = getattr(vision.network.model, "config", None)
    patch_size = getattr(config, "patch_size", None)
    sizes = [getattr(config, name, None) for name in ("hidden_size", "num_hidden_layers")]
    if not all(isinstance(size, int) and size > 0 for size in (patch_size, *sizes)):
        return 0
    tubelet_size = getattr(config, "tubelet_size", 1)
    frames_per_patch = tubelet_size if isinstance(tubelet_size, int) else tubelet_size[0]
    # A video model merges the frames of a tubelet into one patch.
    num_patches = (vision.network.size // patch_size) ** 2 * num_frames // frames_per_patch
    return num_patches * sizes[0] * sizes[1] * _KEPT_WIDTHS


def _read_size(model: Translator, name: str) -> int:
    """Read a size from the backbone's configuration; 0 if an architecture does not state it."""
    # Most architectures map their own names to these; a bound without a part is a lower bound too.
    return int(getattr(model.backbone.config, name, 0) or 0)


def _count_vectors(model: Translator, lengths: Mapping[str, int]) -> int:
    """Count the vectors of the longest stream after its encoder and the length budget."""
    num_vectors = 0
    for name in model.encoders:
        num_vectors = max(num_vectors, len(model.get_source_spans(name, lengths.get(name, 0))))
    limit = model.position_limit.limit
    return num_vectors if limit is None else min(num_vectors, limit)


def _count_stored_scores(model: Translator, is_training: bool) -> int:
    """Count how often the attention stores its scores (B, H, N, N) at one time in a layer."""
    config: Any = model.backbone.config
    if any(getattr(config, name, None) is not None for name in _LOCAL_ATTENTION_SETTINGS):
        return 0
    # Softmax and its dropped-out copy are kept for the backward pass.
    num_copies = 2 if is_training else 1
    if getattr(config, "_attn_implementation", None) == "eager":
        return num_copies
    # PyTorch's fused kernel for CPUs has no dropout, so the scores are stored if there is one.
    has_dropout = float(getattr(config, "attention_dropout", 0.0) or 0.0) > 0
    is_cpu = model.device.type == "cpu"
    return num_copies if is_cpu and has_dropout and is_training else 0
