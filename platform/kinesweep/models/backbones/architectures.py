"""Families of Hugging Face models: Auto class, supported architectures and special token ids.

The code that creates and checks backbones (`scratch`, `pretrained`) is the same for all kinds; a
`BackboneFamily` holds the differences. Architectures that cannot read a batch of vectors row by
row, as if each row were alone, are rejected with a reason: a recurrent state would absorb padding,
and a bidirectional model would see the text that it has to generate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones.tarres_m2m100 import TarresConfig

# Model types that start decoding with the padding token without declaring it in their config class.
_PAD_START_MODEL_TYPES = ("t5", "longt5")


def get_decoder_start_id(config: Any, vocabulary: Vocabulary) -> int:
    """Return the id of the decoder's start token in our vocabulary.

    T5, Pegasus and Marian start with padding, Blenderbot with the beginning of a sentence, and
    BART, M2M-100 and mBART with the end of one. The configuration states it in its own ids.

    Args:
        config: Hugging Face configuration or its class, before our ids are set.
        vocabulary: Vocabulary of the tokenizer.
    """
    start = getattr(config, "decoder_start_token_id", None)
    if start is None and config.model_type in _PAD_START_MODEL_TYPES:
        return vocabulary.pad_id
    # Compare ids within the configuration to find the role of the start token; the vocabulary then
    # gives the id of this role.
    if start is not None and start == getattr(config, "pad_token_id", None):
        return vocabulary.pad_id
    if start is not None and start == getattr(config, "bos_token_id", None):
        is_also_end = start == getattr(config, "eos_token_id", None)
        return vocabulary.eos_id if is_also_end else vocabulary.bos_id
    return vocabulary.eos_id


def get_seq2seq_special_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int]:
    """Return the special token ids of our vocabulary by configuration key, with the start token."""
    return {
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "decoder_start_token_id": get_decoder_start_id(config, vocabulary),
    }


def get_causal_special_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int | None]:
    """Return the special token ids of our vocabulary by configuration key.

    The embedding of a model's padding token is never trained. If the end of sentence doubles as
    padding, the model is therefore told that it has no padding token.
    """
    pads_with_eos = vocabulary.pad_id == vocabulary.eos_id
    return {
        "pad_token_id": None if pads_with_eos else vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
    }


def _get_seq2seq_unsupported_reason(_: Any) -> str:
    """Return an empty string: every encoder-decoder is supported."""
    return ""


def _get_causal_unsupported_reason(config: Any) -> str:
    """Return why a model cannot be a causal backbone; an empty string if it can."""
    model_type = config.model_type
    if config.get_text_config() is not config:
        return f"a `{model_type}` combines several models; save its text model alone and use that"
    # GPT-NeoX has the key `is_decoder`, but is unidirectional whatever its value.
    if hasattr(config, "is_decoder") and not model_type.startswith("gpt_neox"):
        return f"a `{model_type}` is an encoder, which would see the text that it has to write"
    if getattr(config, "hidden_size_per_layer_input", None):
        return f"a `{model_type}` looks up token ids in every layer, so it cannot read vectors"
    if getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], "_is_stateful", False):
        return f"a `{model_type}` has a recurrent state, which padding would change"
    return ""


@dataclass(frozen=True)
class BackboneFamily:
    """A family of language models.

    Attributes:
        kind: Value of `kind` in a recipe.
        display_name: Name of the family in messages.
        examples: Example architectures in messages.
        auto_class: Hugging Face Auto class.
        architectures: Supported model types.
        get_special_ids: Function (configuration or its class, vocabulary) → configuration key →
            special token id.
        get_unsupported_reason: Function configuration → reason why the model is not supported, or
            an empty string.
    """

    kind: str
    display_name: str
    examples: str
    auto_class: Any
    architectures: tuple[str, ...]
    get_special_ids: Callable[[Any, Vocabulary], dict[str, Any]]
    get_unsupported_reason: Callable[[Any], str]


SEQ2SEQ = BackboneFamily(
    kind="seq2seq",
    display_name="encoder-decoder",
    examples="`m2m_100`, `bart`, `mbart` or `t5`",
    auto_class=AutoModelForSeq2SeqLM,
    architectures=(*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, TarresConfig.model_type),
    get_special_ids=get_seq2seq_special_ids,
    get_unsupported_reason=_get_seq2seq_unsupported_reason,
)
CAUSAL = BackboneFamily(
    kind="causal",
    display_name="decoder-only model",
    examples="`llama`, `qwen2`, `gemma` or `gpt2`",
    auto_class=AutoModelForCausalLM,
    architectures=tuple(
        name
        for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        # Hugging Face also lists the decoders of encoder-decoders as causal models.
        if name not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    ),
    get_special_ids=get_causal_special_ids,
    get_unsupported_reason=_get_causal_unsupported_reason,
)
