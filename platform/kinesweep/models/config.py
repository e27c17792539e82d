"""The saved configuration of a model: recipe part, streams, vocabulary and backbone configuration.

`config.json` is sufficient to rebuild the model; no other folder is needed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.skeleton.skeleton import Skeleton
from kinesweep.core.vocabulary import TokenVocabulary, Vocabulary


class KinesweepConfig(PreTrainedConfig):
    """The Hugging Face configuration of a `Translator`.

    Attributes:
        model: The recipe's `model` section, as plain values.
        streams: Pairs of stream name and width, in the order in which streams are fused. A list,
            because the keys of a JSON object are sorted when it is saved.
        vocabulary: `Vocabulary`, as plain values.
        backbone: Hugging Face configuration of the backbone, as plain values.
        label_smoothing: Label smoothing factor of the training loss.
        base: Entry of the base model (`models.base_model`) if only adapters of a pretrained
            backbone are trained; its weights are not saved with the model. None: all weights are
            saved.
        skeletons: Stream → `Skeleton` as plain values, for the streams read by graph encoders.
        vision: Description of the vision network (`models.vision.vision_loading`) and, as
            `streams`, the names of the streams of decoded frames that it reads; None without one.
        token_vocabularies: Stream → `TokenVocabulary` as plain values, for the streams of token
            ids; None without one.
    """

    model_type = "kinesweep"

    model: dict[str, Any] | None = None
    streams: list[Any] | None = None
    vocabulary: dict[str, int] | None = None
    backbone: dict[str, Any] | None = None
    label_smoothing: float = 0.0
    base: dict[str, Any] | None = None
    skeletons: dict[str, Any] | None = None
    vision: dict[str, Any] | None = None
    token_vocabularies: dict[str, Any] | None = None
    is_encoder_decoder: bool = True

    def get_model_config(self) -> ModelConfig:
        """Return the recipe's `model` section as a validated config."""
        return ModelConfig.model_validate(self.model)

    def get_stream_widths(self) -> dict[str, int]:
        """Return stream → width D, in the order in which streams are fused."""
        return dict(self.streams or [])

    def get_encoder_widths(self) -> dict[str, int]:
        """Return stream → width D that its encoder reads, for the streams that have an encoder.

        For a stream of decoded frames it is the width of the vision model, for token ids the size
        of their vocabulary.

        The stream of reference motions has none: it is read by the encoder of the stream that is
        compared with it.
        """
        reference = self.get_model_config().reference
        reference_stream = None if reference is None else reference.against
        vision, frame_streams = self.vision or {}, self.get_frame_streams()
        widths = self.get_stream_widths()
        widths |= {name: vision["width"] for name in frame_streams if name in widths}
        widths |= {name: vocab["size"] for name, vocab in (self.token_vocabularies or {}).items()}
        return {name: width for name, width in widths.items() if name != reference_stream}

    def get_frame_streams(self) -> list[str]:
        """Return the names of the streams of decoded frames, which the vision model reads."""
        return list((self.vision or {}).get("streams", ()))

    def get_skeleton(self, stream: str) -> Skeleton | None:
        """Return the skeleton of a stream; None if no graph encoder reads the stream."""
        values = (self.skeletons or {}).get(stream)
        return None if values is None else Skeleton.from_json(values)

    def get_vocabulary(self) -> Vocabulary:
        """Return the size and the special tokens of the tokenizer."""
        return Vocabulary(**(self.vocabulary or {}))


def build_kinesweep_config(  # noqa: PLR0913 (each part of the model has a description)
    model: ModelConfig,
    widths: dict[str, int],
    vocabulary: Vocabulary,
    label_smoothing: float,
    backbone: PreTrainedModel,
    base: dict[str, Any] | None = None,
    *,
    skeletons: Mapping[str, Skeleton] | None = None,
    vision: dict[str, Any] | None = None,
    vocabularies: Mapping[str, TokenVocabulary] | None = None,
) -> KinesweepConfig:
    """Build the configuration of a new model from objects, which are converted to plain values.

    Args:
        model: The recipe's `model` section.
        widths: Stream → width D, in the order in which streams are fused.
        vocabulary: Vocabulary of the tokenizer.
        label_smoothing: Label smoothing factor of the training loss.
        backbone: Language model, whose configuration is saved.
        base: Entry of the base model; None: all weights are saved.
        skeletons: Stream → skeleton, for the streams read by graph encoders.
        vision: Description of the vision network and its streams; None without one.
        vocabularies: Stream → vocabulary, for the streams of token ids.
    """
    return KinesweepConfig(
        model=model.model_dump(mode="json"),
        # Pairs rather than a dict: Hugging Face sorts keys in `config.json`, but the order counts.
        streams=[[name, width] for name, width in widths.items()],
        vocabulary=dataclasses.asdict(vocabulary),
        backbone=_get_portable_config(backbone),
        label_smoothing=label_smoothing,
        base=base,
        skeletons={name: skeleton.to_json() for name, skeleton in (skeletons or {}).items()}
        or None,
        vision=vision,
        token_vocabularies={name: v.to_json() for name, v in (vocabularies or {}).items()} or None,
        # Hugging Face reads the special tokens from the top level.
        pad_token_id=vocabulary.pad_id,
        bos_token_id=vocabulary.bos_id,
        eos_token_id=vocabulary.eos_id,
    )


def _get_portable_config(backbone: PreTrainedModel) -> dict[str, Any]:
    """Return the backbone's configuration without entries that belong to its original folder.

    For example, its path would reveal the machine on which the model was trained.
    """
    values: dict[str, Any] = backbone.config.to_dict()
    for key in (
        "_name_or_path",
        "architectures",
        "dtype",
        "quantization_config",
        "transformers_version",
    ):
        values.pop(key, None)
    return values
