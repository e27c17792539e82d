"""The base class of both backbone kinds: checks, creates and rebuilds Hugging Face models.

Vectors are passed as `inputs_embeds`, so a model without this argument is rejected here.
"""

import inspect
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from kinesweep.config.recipe.backbone import AnyBackbone
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.architectures import Family
from kinesweep.models.backbones.pretrained import Saved, load_pretrained, pretrained_config
from kinesweep.models.backbones.scratch import check_scratch, scratch_config
from kinesweep.models.lora import device_of, quantization


class Made:
    """The methods shared by all backbone kinds; holds nothing but its family."""

    family: Family

    def check(self, config: AnyBackbone) -> None:
        """Check the keys and sizes of a backbone from scratch, without building it.

        Raises:
            ConfigError: If there are problems; all are listed.
        """
        if config.scratch is not None:
            check_scratch(self.family, config.scratch)

    def create(
        self,
        config: AnyBackbone,
        vocabulary: Vocabulary,
        exact_size: bool,
        device: torch.device | None = None,
    ) -> PreTrainedModel:
        """Create a backbone with random or pretrained weights, without adapters.

        It is created on the CPU, except for 4-bit weights, which cannot be moved.

        Args:
            config: The recipe's `model.backbone` section.
            vocabulary: Vocabulary of the tokenizer.
            exact_size: Remove unused embedding rows, as in `load_pretrained`.
            device: Device the model will run on; None: see `lora.device_of`.

        Raises:
            ConfigError: If a key of `scratch` is wrong.
            InputError: If `pretrained` cannot be used.
            ResourceError: If 4-bit weights are requested where they are not available.
        """
        if config.pretrained is not None:
            device = device or device_of(config.lora)
            bits = quantization(config.lora, device)
            saved = self._saved(config, bits, device)
            model = load_pretrained(saved, vocabulary, exact_size)
        else:
            scratch = config.scratch or {}
            plain = scratch_config(self.family, scratch, vocabulary)
            try:
                model = self.family.auto.from_config(plain)
            except Exception:
                # Raises a ConfigError with the reason, if it can find one.
                check_scratch(self.family, scratch)
                raise
        if "inputs_embeds" not in inspect.signature(model.forward).parameters:
            text = f"`{model.config.model_type}` does not accept input vectors (`inputs_embeds`)"
            raise ConfigError("the model", [("model.backbone", text)])
        return model

    def empty(self, config: AnyBackbone, vocabulary: Vocabulary) -> PreTrainedModel:
        """Create the backbone without its pretrained weights, for weights that are loaded later.

        Raises:
            ConfigError: If a key of `scratch` is wrong.
            InputError: If `pretrained` has no configuration.
        """
        if config.pretrained is None:
            return self.create(config, vocabulary, exact_size=True)
        plain = pretrained_config(self._saved(config))
        for key, value in self.family.special_ids(plain, vocabulary).items():
            setattr(plain, key, value)
        return self.family.auto.from_config(plain)

    def rebuild(self, plain: dict[str, Any]) -> PreTrainedModel:
        """Create a backbone from a saved configuration; its weights are loaded later."""
        # A copy, because `pop` below would change the caller's configuration.
        keys = dict(plain)
        return self.family.auto.from_config(AutoConfig.for_model(keys.pop("model_type"), **keys))

    def rows(self, config: AnyBackbone) -> int:
        """Return the vocabulary size of the pretrained model in `config`.

        Raises:
            InputError: If it has no configuration.
        """
        return int(pretrained_config(self._saved(config)).vocab_size)

    def _saved(
        self, config: AnyBackbone, bits: Any = None, device: torch.device | None = None
    ) -> Saved:
        """Return where a pretrained backbone is and how it is loaded."""
        return Saved(
            family=self.family,
            name=config.pretrained or "",
            revision=config.revision,
            dropout=config.dropout,
            quantization=bits,
            device=device,
        )
