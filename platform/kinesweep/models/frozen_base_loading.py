"""Loading a saved translator together with its base model.

The base model is located, its content hash is compared with the checkpoint's, and its weights are
loaded as they were for training, or in float32 if they were held in 4 bits and 4 bits are not
available here. The saved weights are loaded on top. The state of the random number generator is
restored afterwards, because loading with Hugging Face draws no random numbers either.
"""

from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from kinesweep.core.errors import CheckpointError
from kinesweep.core.hf_logging import quiet_transformers
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.base import check_base, find_base
from kinesweep.models.checkpoint_io import load_own
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.lora import device_of, readable


def load_over_base(
    made: Any,
    config: KinesweepConfig,
    folder: Any,
    bases: str | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    output_loading_info: bool = False,
    **hub: Any,
) -> Any:
    """Return a translator made of its base model and the weights that were saved over it.

    Args:
        made: Class to instantiate, called as `made(config, backbone)`.
        config: Configuration of the saved model.
        folder: Folder or hub id of the saved model.
        bases: Folder in which to look for the base model.
        device: Device the model will run on; None: see `lora.device_of`.
        dtype: Data type of all weights; None and "auto" mean float32.
        output_loading_info: Return a pair of the model and Hugging Face's loading report.
        **hub: Hugging Face's arguments for fetching from the hub (`revision`, `token`, …).

    Raises:
        CheckpointError: If the base model is missing or a different one, or if the saved weights
            are not exactly those of the model.
    """
    # Read the small file first: hashing the base model takes about 2 s per GB.
    weights = _read(folder, hub)
    recipe, base = config.recipe_part(), config.base or {}
    place = find_base(base["name"], bases)
    check_base(base, place)
    kind = BACKBONES[recipe.backbone.kind]
    device = device or device_of(recipe.backbone.lora)
    lora = readable(recipe.backbone.lora, device, folder)
    # The recipe names the base model as it was known in training; load the copy that was found.
    found = recipe.backbone.model_copy(update={"pretrained": place, "lora": lora})
    exact_size = recipe.tokenizer.kind != "pretrained"
    # Building draws projectors and adapters at random although they are overwritten below, so the
    # state of the CPU's generator is restored afterwards (`devices=[]` leaves the GPUs' alone).
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        backbone = kind.create(found, config.words(), exact_size, device)
        model = made(config, backbone)
    load_own(model, weights, folder)
    if isinstance(dtype, torch.dtype) and dtype != torch.float32:
        model.to(dtype)
    # As Hugging Face's `from_pretrained` does.
    model.eval()
    # `load_own` raises on any mismatch, so the report of a loaded model is always empty.
    perfect: dict[str, list[str]] = {
        key: [] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    return (model, perfect) if output_loading_info else model


def _read(folder: Any, hub: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors that were saved, by name."""
    try:
        path = cached_file(folder, SAFE_WEIGHTS_NAME, **hub)
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
