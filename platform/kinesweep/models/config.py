"""What a saved model knows of itself: recipe part, streams, vocabulary and its backbone's keys.

`config.json` is enough to rebuild the model with no other folder at hand.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from kinesweep.core.recipe.model import ModelConfig
from kinesweep.core.skeleton import Skeleton
from kinesweep.core.vocabulary import Vocabulary


class KinesweepConfig(PreTrainedConfig):
    """Hugging Face configuration of a `Translator`.

    Attributes:
        model: the recipe's part `model`, as plain values.
        streams: pairs of a stream's name and width, in the order in which they are joined; a list,
            because keys of a JSON object are sorted when it is saved.
        vocabulary: `Vocabulary` as plain values.
        backbone: the backbone's Hugging Face configuration, as plain values.
        label_smoothing: of the training loss.
        base: where nothing but adapters learns of a saved backbone: which one it is
            (`models.base`); its weights are not saved with the model. None: all weights are.
        skeletons: stream → `Skeleton` as plain values, where a graph encoder reads it.
    """

    model_type = "kinesweep"

    model: dict[str, Any] | None = None
    streams: list[Any] | None = None
    vocabulary: dict[str, int] | None = None
    backbone: dict[str, Any] | None = None
    label_smoothing: float = 0.0
    base: dict[str, Any] | None = None
    skeletons: dict[str, Any] | None = None
    is_encoder_decoder: bool = True

    def recipe_part(self) -> ModelConfig:
        """The recipe's part `model`."""
        return ModelConfig.model_validate(self.model)

    def widths(self) -> dict[str, int]:
        """Width of each stream, in order."""
        return dict(self.streams or [])

    def encoded(self) -> dict[str, int]:
        """Width of each stream that has an encoder: all but a reference, which shares one."""
        reference = self.recipe_part().reference
        against = None if reference is None else reference.against
        return {name: width for name, width in self.widths().items() if name != against}

    def skeleton(self, stream: str) -> Skeleton | None:
        """The skeleton of a stream that a graph encoder reads."""
        plain = (self.skeletons or {}).get(stream)
        return None if plain is None else Skeleton.from_json(plain)

    def words(self) -> Vocabulary:
        """The vocabulary."""
        return Vocabulary(**(self.vocabulary or {}))


def describe(
    model: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float,
    backbone: PreTrainedModel,
    base: dict[str, Any] | None = None,
    skeletons: Mapping[str, Skeleton] | None = None,
) -> KinesweepConfig:
    """The configuration of a model that is being built."""
    return KinesweepConfig(
        model=model.model_dump(mode="json"),
        streams=[[name, width] for name, width in widths.items()],
        vocabulary=dataclasses.asdict(vocabulary),
        backbone=_plain(backbone),
        label_smoothing=label_smoothing,
        base=base,
        skeletons={name: one.to_json() for name, one in (skeletons or {}).items()} or None,
        pad_token_id=vocabulary.pad_id,
        bos_token_id=vocabulary.bos_id,
        eos_token_id=vocabulary.eos_id,
    )


def _plain(backbone: PreTrainedModel) -> dict[str, Any]:
    """A backbone's configuration without what belongs to the folder it came from.

    Its path would name the machine.
    """
    plain: dict[str, Any] = backbone.config.to_dict()
    for key in (
        "_name_or_path",
        "architectures",
        "dtype",
        "quantization_config",
        "transformers_version",
    ):
        plain.pop(key, None)
    return plain
