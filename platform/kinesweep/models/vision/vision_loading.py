"""Vision networks from a recipe, and from the configuration of a saved translator.

Weights are loaded strictly, by the same functions as those of extraction. The saved configuration
is sufficient to rebuild the network; its weights are saved with the translator, whether they are
trained or not, so that a bundle works alone (a frozen language model is larger by a factor of ten
to a hundred and stays outside).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import AutoConfig, AutoModel

from kinesweep.config.recipe.model.vision import AnyVision, HfVisionConfig, SignHieraVisionConfig
from kinesweep.core.checkpoint_files import compute_pretrained_digest
from kinesweep.core.errors import CheckpointError, ConfigError, InputError
from kinesweep.features.encoders.hf_vision_network import HfVisionNetwork, get_image_size
from kinesweep.features.encoders.image_normalization import (
    ImageNormalization,
    read_image_normalization,
)
from kinesweep.features.encoders.pretrained_vision import load_vision_config, load_vision_model
from kinesweep.features.encoders.signhiera import SignHiera
from kinesweep.features.encoders.signhiera_network import (
    SignHieraNetwork,
    load_signhiera,
    read_stated_geometry,
)
from kinesweep.features.encoders.token_pooling import find_video_model_spec
from kinesweep.models.vision.tower import VisionTower
from kinesweep.models.vision.vision_scratch import build_geometry, build_hf_config

# From the range 0 to 255 to -1 to 1, as most vision transformers are trained.
_SCRATCH_NORMALIZATION = ImageNormalization(
    None, scale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
# Standard deviation of the position embeddings of a new Hiera (Ryali et al. 2023).
_POSITION_STD = 0.02


def create_vision_network(config: AnyVision, frame_size: int) -> nn.Module:
    """Create the network of a new translator, with random or pretrained weights.

    Args:
        config: The recipe's `model.vision` section.
        frame_size: Height and width of the frames in the store, in pixels.

    Raises:
        ConfigError: If a key of `scratch` is wrong, or a model with batch norm is trained with
            gradient checkpointing.
        InputError: If the pretrained model cannot be used, or does not read frames of this size.
        CheckpointError: If its weights do not fit, or have changed since the run was created.
    """
    # Compared before loading: changed weights may not fit, with an error that hides the cause.
    digest = compute_pretrained_digest(config.pretrained)
    if config.sha256 is not None and digest is not None and digest != config.sha256:
        raise CheckpointError(
            f"`model.vision.pretrained` is `{config.pretrained}`, whose weights have changed since"
            " this run was created. Restore them, or start a new run in another folder."
        )
    with _rename_keys():
        if isinstance(config, SignHieraVisionConfig):
            network = _create_signhiera(config, frame_size)
        else:
            network = _create_hf_network(config, frame_size)
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in network.modules())
    if config.gradient_checkpointing and has_batch_norm and not config.freeze:
        text = (
            "computes every chunk twice, which would update the statistics of this model's batch"
            " norms twice; set it to false and lower `batch.max_frames`"
        )
        raise ConfigError("the model", [("model.vision.gradient_checkpointing", text)])
    return network


def describe_vision_network(network: Any, config: AnyVision) -> dict[str, Any]:
    """Describe a network as plain values from which `rebuild_vision_network` builds it.

    Args:
        network: Network from `create_vision_network`.
        config: The recipe's `model.vision` section.

    Returns:
        Size, width, unused weights, and the configuration of the model.
    """
    entry = {
        "size": network.size,
        "width": network.width,
        "unused": [] if config.freeze else _find_unused_weights(network),
    }
    if isinstance(network, SignHieraNetwork):
        return {**entry, "geometry": dataclasses.asdict(network.model.geometry)}
    values = network.model.config.to_dict()
    # Facts about the origin, which would make descriptions of equal models differ.
    for key in ("_name_or_path", "architectures", "dtype", "transformers_version"):
        values.pop(key, None)
    return {
        **entry,
        "config": values,
        "normalization": dataclasses.asdict(network.normalization),
        "output_shape": list(network.output_shape),
    }


def rebuild_vision_network(entry: Mapping[str, Any], config: AnyVision) -> nn.Module:
    """Rebuild a network from its description, with random weights that the caller replaces.

    Args:
        entry: Output of `describe_vision_network`, possibly read from JSON.
        config: The recipe's `model.vision` section.
    """
    if isinstance(config, SignHieraVisionConfig):
        return SignHieraNetwork(SignHiera(build_geometry(entry["geometry"])))
    values = dict(entry["config"])
    model = AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values))
    normalization: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in entry["normalization"].items()
    }
    return HfVisionNetwork(
        model,
        ImageNormalization(**normalization),
        config.pool,
        entry["size"],
        tuple(entry["output_shape"]),
    )


def build_vision_tower(
    config: AnyVision | None, entry: Mapping[str, Any] | None, network: nn.Module | None
) -> VisionTower | None:
    """Build the vision tower of a translator, without adapters; None if it has none.

    Args:
        config: The recipe's `model.vision` section.
        entry: Output of `describe_vision_network`.
        network: Network with its weights; None: one is built with random weights.
    """
    if config is None or entry is None:
        return None
    network = rebuild_vision_network(entry, config) if network is None else network
    with _rename_keys():
        return VisionTower(config, network, entry["unused"])


def check_vision_config(config: AnyVision) -> None:
    """Check the keys of a vision model from scratch, without allocating memory.

    Raises:
        ConfigError: If there are problems; all are listed.
    """
    if config.scratch is None:
        return
    if isinstance(config, SignHieraVisionConfig):
        build_geometry(config.scratch)
        return
    with _rename_keys(), torch.device("meta"):
        AutoModel.from_config(build_hf_config(config.scratch))


def _create_hf_network(config: HfVisionConfig, frame_size: int) -> nn.Module:
    """Create the network of a Hugging Face model; see `create_vision_network`."""
    if config.scratch is not None:
        hf_config = build_hf_config(config.scratch)
        normalization = _SCRATCH_NORMALIZATION
    else:
        hf_config = load_vision_config(config.pretrained_or_empty)
        normalization = read_image_normalization(config.pretrained_or_empty)
    is_video_model = find_video_model_spec(hf_config) is not None
    # A convolutional model from scratch has no image size; it is that of the frames.
    if config.scratch is not None and not is_video_model and not hasattr(hf_config, "image_size"):
        normalization = dataclasses.replace(normalization, size=frame_size)
    model_size = get_image_size(hf_config, normalization)
    if is_video_model and model_size != frame_size:
        raise InputError(_format_size_problem(hf_config.model_type, model_size, frame_size))
    if config.scratch is not None:
        model = AutoModel.from_config(hf_config).eval()
    else:
        model = load_vision_model(config.pretrained_or_empty, hf_config)
    try:
        return HfVisionNetwork(model, normalization, config.pool, frame_size)
    except InputError:
        # Many image models interpolate their positions, and convolutions need none; if a model
        # cannot process frames of another size, that is the reason to state.
        if model_size == frame_size:
            raise
        raise InputError(
            _format_size_problem(hf_config.model_type, model_size, frame_size)
        ) from None


def _create_signhiera(config: SignHieraVisionConfig, frame_size: int) -> nn.Module:
    """Create the network of a SignHiera; see `create_vision_network`."""
    geometry = build_geometry(config.scratch or {})
    if config.pretrained is not None:
        path = Path(config.pretrained)
        if not path.is_file():
            raise InputError(f"`model.vision.pretrained` is `{path}`, but there is no such file")
        geometry = read_stated_geometry(path) or geometry
    # Before loading, which takes seconds for a model of full size.
    if geometry.size != frame_size:
        raise InputError(_format_size_problem("signhiera", geometry.size, frame_size))
    if config.pretrained is None:
        model = SignHiera(geometry)
        for positions in (model.pos_embed_spatial, model.pos_embed_temporal):
            nn.init.trunc_normal_(positions, std=_POSITION_STD)
    else:
        model = load_signhiera(Path(config.pretrained), config.from_clip, geometry)
    for module in model.modules():
        # Keep Hugging Face from drawing new weights.
        module._is_hf_initialized = True  # type: ignore[assignment]
    return SignHieraNetwork(model.eval())


def _find_unused_weights(network: Any) -> list[str]:
    """Find the weights that the vectors do not depend on, such as those of a pooling layer.

    They get no gradient. Data-parallel training would wait for it, and an optimizer hold states for
    them.

    Args:
        network: Network in evaluation mode.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    used: set[int] = set()
    with torch.enable_grad():
        black_window = network.build_black_window()
        vectors: Tensor = network(black_window, [black_window.shape[1]])
    waiting, visited = [vectors.grad_fn], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        used.add(id(getattr(node, "variable", None)))
        waiting += [parent for parent, _ in node.next_functions]
    return [name for key, name in names.items() if key not in used]


def _format_size_problem(model_type: str, model_size: int, frame_size: int) -> str:
    """Format the error message for frames of a size that the model does not read."""
    return (
        f"`model.vision` is a `{model_type}` for images of {model_size} pixels, but the store holds"
        f" frames of {frame_size}. Set `features.size` to {model_size}."
    )


@contextmanager
def _rename_keys() -> Iterator[None]:
    """Name the keys of `model.vision` in errors of functions that extraction uses as well."""
    try:
        yield
    except (InputError, CheckpointError) as error:
        text = str(error)
        # The longer prefix first, because the shorter one is part of it.
        for extraction_key in ("features.encoder.", "features."):
            for key in ("pretrained", "pool", "windows"):
                text = text.replace(f"`{extraction_key}{key}", f"`model.vision.{key}")
        raise type(error)(text) from None
