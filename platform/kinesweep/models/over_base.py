"""A saved translator put back upon its base.

The base is found, its content compared with what the checkpoint says, and read as it was read
before training, or whole where it was held in 4 bits and cannot be here; then come the weights
that were saved. The random numbers drawn on the way are given back, as a load by Hugging Face draws
none.
"""

from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from kinesweep.core.errors import CheckpointError
from kinesweep.core.silence import silent
from kinesweep.models.adapters import device_of, readable
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.base import check_base, find_base
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.saving import load_own


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
    """A translator of its base and of what was saved over it.

    Args:
        made: the class.
        config: of the saved model.
        folder: where it is saved; a folder or hub id.
        bases: folder to look for the base in.
        device: where it will work; None: see `adapters.device_of`.
        dtype: of all weights; None, "auto": float32.
        output_loading_info: give Hugging Face's report too.
        **hub: how a hub id is fetched (`revision`, `token`, …).

    Raises:
        CheckpointError: no such base, another one, or other weights than the model's.
    """
    weights = _read(folder, hub)
    recipe, base = config.recipe_part(), config.base or {}
    place = find_base(base["name"], bases)
    check_base(base, place)
    kind = BACKBONES[recipe.backbone.kind]
    device = device or device_of(recipe.backbone.lora)
    lora = readable(recipe.backbone.lora, device, folder)
    found = recipe.backbone.model_copy(update={"pretrained": place, "lora": lora})
    exact_size = recipe.tokenizer.kind != "pretrained"
    with silent(), torch.random.fork_rng(devices=[]):
        backbone = kind.create(found, config.words(), exact_size, device)
        model = made(config, backbone)
    load_own(model, weights, folder)
    if isinstance(dtype, torch.dtype) and dtype != torch.float32:
        model.to(dtype)
    model.eval()
    perfect: dict[str, list[str]] = {
        key: [] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
    }
    return (model, perfect) if output_loading_info else model


def _read(folder: Any, hub: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What was saved."""
    try:
        path = cached_file(folder, SAFE_WEIGHTS_NAME, **hub)
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
