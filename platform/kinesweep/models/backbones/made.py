"""How a backbone of either kind comes into being: checked, created, emptied, rebuilt.

Vectors go in through `inputs_embeds`, so a model that does not take them is refused here.
"""

import inspect
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from kinesweep.core.errors import ConfigError
from kinesweep.core.recipe.backbone import AnyBackbone
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.adapters import device_of, quantization
from kinesweep.models.backbones.family import Family
from kinesweep.models.backbones.pretrained import Saved, load_pretrained, pretrained_config
from kinesweep.models.backbones.scratch import check_scratch, scratch_config


class Made:
    """What kinds of backbones share; holds nothing but its family."""

    family: Family

    def check(self, config: AnyBackbone) -> None:
        """Refuses keys and sizes of a backbone from scratch that cannot be, without building it.

        Raises:
            ConfigError: with every problem.
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
        """A new backbone, with random or pretrained weights; without adapters.

        It is on the CPU, but weights in 4 bits are made where they stay.

        Args:
            config: its recipe part.
            vocabulary: of the tokenizer.
            exact_size: as `load_pretrained`.
            device: where it will work; None: see `adapters.device_of`.

        Raises:
            ConfigError: a key of `scratch` is wrong.
            InputError: `pretrained` cannot be used.
            ResourceError: weights in 4 bits, where they cannot be.
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
                check_scratch(self.family, scratch)  # gives the reason as a ConfigError
                raise
        if "inputs_embeds" not in inspect.signature(model.forward).parameters:
            text = f"`{model.config.model_type}` does not take vectors (`inputs_embeds`)"
            raise ConfigError("the model", [("model.backbone", text)])
        return model

    def empty(self, config: AnyBackbone, vocabulary: Vocabulary) -> PreTrainedModel:
        """A backbone as `create` makes it, without the pretrained weights: for those to come.

        Raises:
            ConfigError: a key of `scratch` is wrong.
            InputError: `pretrained` has no configuration.
        """
        if config.pretrained is None:
            return self.create(config, vocabulary, exact_size=True)
        plain = pretrained_config(self._saved(config))
        for key, value in self.family.special_ids(plain, vocabulary).items():
            setattr(plain, key, value)
        return self.family.auto.from_config(plain)

    def rebuild(self, plain: dict[str, Any]) -> PreTrainedModel:
        """A backbone of a saved configuration; its weights are still to be loaded."""
        keys = dict(plain)
        return self.family.auto.from_config(AutoConfig.for_model(keys.pop("model_type"), **keys))

    def rows(self, config: AnyBackbone) -> int:
        """Tokens of the saved model that `config` names.

        Raises:
            InputError: it has no configuration.
        """
        return int(pretrained_config(self._saved(config)).vocab_size)

    def _saved(
        self, config: AnyBackbone, bits: Any = None, device: torch.device | None = None
    ) -> Saved:
        """Where a pretrained backbone is, and how it is read."""
        return Saved(
            family=self.family,
            name=config.pretrained or "",
            revision=config.revision,
            dropout=config.dropout,
            quantization=bits,
            device=device,
        )
