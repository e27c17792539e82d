"""The base class of both backbone kinds: checks, creates and rebuilds Hugging Face models.

Vectors are passed as `inputs_embeds`, so a model without this argument is rejected here.
"""

import inspect
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from kinesweep.config.recipe.model.backbone import AnyBackbone
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import BackboneFamily
from kinesweep.models.backbones.pretrained import (
    PretrainedModelSpec,
    load_pretrained_backbone,
    load_pretrained_config,
)
from kinesweep.models.backbones.scratch import build_scratch_config, check_scratch_config
from kinesweep.models.lora import build_quantization_config, get_default_device


class BaseBackbone:
    """Base class of the backbones; checks, creates and rebuilds the models of one family.

    Attributes:
        family: Family of language models, set by each subclass.
    """

    family: BackboneFamily

    def check_config(self, config: AnyBackbone) -> None:
        """Check the keys and sizes of a backbone from scratch, without allocating memory.

        A pretrained backbone is not checked.

        Raises:
            ConfigError: If there are problems; all are listed.
        """
        if config.scratch is not None:
            check_scratch_config(self.family, config.scratch)

    def create_model(
        self,
        config: AnyBackbone,
        vocabulary: Vocabulary,
        exact_size: bool,
        device: torch.device | None = None,
    ) -> PreTrainedModel:
        """Create a backbone with random or pretrained weights, without adapters.

        It is created on the CPU, except for quantized weights, which cannot be moved.

        Args:
            config: The recipe's `model.backbone` section.
            vocabulary: Vocabulary of the tokenizer.
            exact_size: Remove unused embedding rows, as in `load_pretrained_backbone`.
            device: Device the model will run on; None: see `lora.get_default_device`.

        Raises:
            ConfigError: If a key of `scratch` is wrong, or the model does not accept vectors.
            InputError: If `pretrained` cannot be used.
            ResourceError: If quantized weights are requested where they are not available.
        """
        if config.pretrained is not None:
            device = device or get_default_device(config.lora)
            quantization_config = build_quantization_config(config.lora, device)
            spec = self._build_pretrained_spec(config, quantization_config, device)
            model = load_pretrained_backbone(spec, vocabulary, exact_size)
        else:
            scratch = config.scratch or {}
            hf_config = build_scratch_config(self.family, scratch, vocabulary)
            try:
                model = self.family.auto_class.from_config(hf_config)
            except Exception:
                # Raises a ConfigError with the reason, if it can find one.
                check_scratch_config(self.family, scratch)
                raise
        if "inputs_embeds" not in inspect.signature(model.forward).parameters:
            text = f"`{model.config.model_type}` does not accept input vectors (`inputs_embeds`)"
            raise ConfigError("the model", [("model.backbone", text)])
        self.store_settings(config, model.config)
        return model

    def store_settings(self, config: AnyBackbone, hf_config: Any) -> None:
        """Store settings of the section that change the computation in Hugging Face's config.

        It is saved with the model, so a loaded model computes the same. Here there are none.
        """

    def create_with_random_weights(
        self, config: AnyBackbone, vocabulary: Vocabulary
    ) -> PreTrainedModel:
        """Create the backbone with random weights, which the caller replaces by saved ones.

        Args:
            config: The recipe's `model.backbone` section.
            vocabulary: Vocabulary of the tokenizer.

        Raises:
            ConfigError: If a key of `scratch` is wrong.
            InputError: If the configuration of `pretrained` cannot be used.
        """
        if config.pretrained is None:
            return self.create_model(config, vocabulary, exact_size=True)
        hf_config = load_pretrained_config(self._build_pretrained_spec(config))
        for key, value in self.family.get_special_ids(hf_config, vocabulary).items():
            setattr(hf_config, key, value)
        self.store_settings(config, hf_config)
        return self.family.auto_class.from_config(hf_config)

    def create_from_saved_config(self, saved_config: dict[str, Any]) -> PreTrainedModel:
        """Create a backbone with random weights from a saved configuration.

        Args:
            saved_config: Hugging Face configuration as plain values, with `model_type`.

        Raises:
            CheckpointError: If `model_type` is missing.
        """
        # A copy, because `pop` below would change the caller's configuration.
        keys = dict(saved_config)
        model_type = keys.pop("model_type", None)
        if model_type is None:
            raise CheckpointError(
                "the saved configuration of the backbone has no `model_type`; copy the folder again"
            )
        return self.family.auto_class.from_config(AutoConfig.for_model(model_type, **keys))

    def get_pretrained_vocab_size(self, config: AnyBackbone) -> int:
        """Return the vocabulary size of a pretrained backbone, before tokens are added.

        Args:
            config: The recipe's `model.backbone` section, which must have `pretrained`.

        Raises:
            InputError: If the configuration of `pretrained` cannot be used.
        """
        return int(load_pretrained_config(self._build_pretrained_spec(config)).vocab_size)

    def _build_pretrained_spec(
        self,
        config: AnyBackbone,
        quantization_config: Any = None,
        device: torch.device | None = None,
    ) -> PretrainedModelSpec:
        """Build the specification from which a pretrained backbone is loaded."""
        return PretrainedModelSpec(
            family=self.family,
            name=config.pretrained or "",
            revision=config.revision,
            dropout=config.dropout,
            quantization=quantization_config,
            device=device,
        )
