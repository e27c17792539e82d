"""Loading a saved translator together with its base model.

The base model is located, its content hash is compared with the checkpoint's, and its weights are
loaded as for training, or in float32 if they were quantized and quantization is not available
here. The saved weights are loaded on top. The state of the random number generator is
restored afterwards, because loading with Hugging Face draws no random numbers either.
"""

from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from kinesweep.config.recipe.model.backbone import AnyBackbone
from kinesweep.core.errors import CheckpointError
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.base_model import check_base_model, find_base_model
from kinesweep.models.checkpoint_io import load_non_base_weights
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import drop_unsupported_quantization, get_default_device


def load_with_base_model(
    model_class: Any,
    config: KinesweepConfig,
    folder: Any,
    base_models_dir: str | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    *,
    output_loading_info: bool = False,
    **hub_kwargs: Any,
) -> Any:
    """Load a translator from its base model and the weights that were saved without the base.

    A warning is logged if quantized weights are not available here and are replaced by float32.

    Args:
        model_class: Class to instantiate, called as `model_class(config, backbone)`.
        config: Configuration of the saved model.
        folder: Folder or hub id of the saved model.
        base_models_dir: Folder in which to look for the base model; None: see `find_base_model`.
        device: Device the model will run on; None: see `lora.get_default_device`.
        dtype: Data type of all weights; None and "auto" mean float32.
        output_loading_info: Return a pair of the model and Hugging Face's loading report.
        **hub_kwargs: Hugging Face's arguments for fetching from the hub (`revision`, `token`, …).

    Returns:
        The translator in evaluation mode, or a pair of translator and loading report with
        `output_loading_info`.

    Raises:
        CheckpointError: If the base model is missing or a different one, or if the saved weights
            are not exactly those of the model.
    """
    # Read the small file first: hashing the base model takes about 2 s per GB.
    weights = _read_saved_weights(folder, hub_kwargs)
    backbone_config = _find_backbone_config(config, base_models_dir)
    backbone_ops = get_backbone_ops(backbone_config)
    device = device or get_default_device(backbone_config.lora)
    lora = drop_unsupported_quantization(backbone_config.lora, device, folder)
    exact_size = config.get_model_config().tokenizer.kind != "pretrained"
    # Building draws projectors and adapters at random although they are overwritten below, so the
    # state of the CPU's generator is restored afterwards (`devices=[]` leaves the GPUs' alone).
    with silence_transformers(), torch.random.fork_rng(devices=[]):
        backbone = backbone_ops.create_model(
            backbone_config.model_copy(update={"lora": lora}),
            config.get_vocabulary(),
            exact_size,
            device,
        )
        model = model_class(config, backbone)
    load_non_base_weights(model, weights, folder)
    if isinstance(dtype, torch.dtype) and dtype != torch.float32:
        model.to(dtype)
    # As Hugging Face's `from_pretrained` does.
    model.eval()
    # `load_non_base_weights` raises on any mismatch, so the report of a loaded model is empty.
    loading_info: dict[str, list[str]] = {
        key: [] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    return (model, loading_info) if output_loading_info else model


def _find_backbone_config(config: KinesweepConfig, base_models_dir: str | None) -> AnyBackbone:
    """Find and check the base model of a translator; return the backbone config that loads it.

    The recipe names the base model as it was known in training; the returned config names the copy
    that was found.

    Args:
        config: Configuration of the saved model.
        base_models_dir: Folder in which to look for the base model; None: see `find_base_model`.

    Raises:
        CheckpointError: If the base model is missing or a different one.
    """
    base = config.base or {}
    path_or_id = find_base_model(base["name"], base_models_dir)
    check_base_model(base, path_or_id)
    backbone_config = config.get_model_config().backbone
    return backbone_config.model_copy(update={"pretrained": path_or_id})


def _read_saved_weights(folder: Any, hub_kwargs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint by name.

    Args:
        folder: Folder or hub id of the saved model.
        hub_kwargs: Hugging Face's arguments for fetching from the hub.

    Raises:
        CheckpointError: If there is no readable safetensors file.
    """
    try:
        path = cached_file(folder, SAFE_WEIGHTS_NAME, **hub_kwargs)
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
