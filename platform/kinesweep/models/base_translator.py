"""The base class of the translator: saving and loading of exactly the weights of a checkpoint.

A saved translator is a Hugging Face model folder. If its language model is a frozen base model, the
folder contains all other weights, and the base model is loaded from its own folder.
"""

from typing import Any, Self

import torch
from transformers import PreTrainedModel

from kinesweep.core.hf_logging import silence_transformers
from kinesweep.models.checkpoint_io import (
    get_non_base_state_dict,
    load_config_or_none,
    load_model_strict,
)
from kinesweep.models.config import KinesweepConfig
from kinesweep.models.frozen_base_loading import load_with_base_model


class BaseTranslator(PreTrainedModel):
    """A Hugging Face model that is saved and loaded strictly, with or without a base model."""

    config_class = KinesweepConfig

    def freeze_parameters(self) -> None:
        """Freeze the parameters that training does not change; each subclass defines which.

        `from_pretrained` calls it after loading.
        """
        raise NotImplementedError

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write `config.json` and `model.safetensors`, with Hugging Face's arguments.

        Over a base model (`models.base_model`), weights of the base model are not written.
        """
        if self.config.base is not None:
            kwargs.setdefault("state_dict", get_non_base_state_dict(self))
        with silence_transformers():
            super().save_pretrained(*args, **kwargs)

    @classmethod
    def from_pretrained(
        cls,
        folder: Any,
        *args: Any,
        base_models: str | None = None,
        device: torch.device | str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a saved translator from safetensors, strictly.

        Args:
            folder: Folder written by `save_pretrained`, or a hub id.
            *args: Passed to Hugging Face.
            base_models: Folder in which to look for a base model; None: the recipe's path, then the
                folder in `KINESWEEP_BASE_MODELS`.
            device: Target device; None: the CPU, or the GPU for a 4-bit base model. Without a GPU
                or bitsandbytes such a base model is loaded in float32, with a warning.
            **kwargs: Passed to Hugging Face; over a base model, `config`, `dtype`,
                `output_loading_info` and arguments for fetching from the hub.

        Returns:
            The translator, or a pair of translator and loading report with `output_loading_info`.

        Raises:
            CheckpointError: If the folder cannot be read, its weights are not exactly this model's
                (the first such key is named), or its base model is missing or a different one.
        """
        config = load_config_or_none(folder, kwargs.get("config"))
        if config is None or config.base is None:
            loaded = load_model_strict(super().from_pretrained, folder, *args, **kwargs)
        else:
            # `load_with_base_model` gets `config` by position; passing it twice would be an error.
            kwargs.pop("config", None)
            target_device = None if device is None else torch.device(device)
            loaded = load_with_base_model(cls, config, folder, base_models, target_device, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if device is not None:
            model.to(device)
        # Hugging Face replaces parameters when loading, and the new ones are not frozen.
        model.freeze_parameters()
        return loaded
