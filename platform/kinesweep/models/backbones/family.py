"""Families of Hugging Face models: how each is called, which models belong, whose ids they take.

What makes and checks a backbone (`scratch`, `pretrained`) is one code for all kinds; a `Family` is
what differs. Models that cannot read vectors row by row as if each were alone are refused here, by
a reason: a state that runs from token to token would take padding in, an encoder sees the text that
it should write.
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
from kinesweep.models.backbones.tarres import TarresConfig

_PAD_STARTS = ("t5", "longt5")
"""Model types whose configuration class does not say that their decoder starts with padding."""


def start_id(config: Any, vocabulary: Vocabulary) -> int:
    """The token that the decoder starts with, in our vocabulary.

    T5, Pegasus and Marian start with padding, Blenderbot with the beginning of a sentence, BART,
    M2M-100 and mBART with the end of one. The configuration says it by its own ids.

    Args:
        config: a Hugging Face configuration or its class, before our ids are put in.
        vocabulary: ours.
    """
    start = getattr(config, "decoder_start_token_id", None)
    if start is None and config.model_type in _PAD_STARTS:
        return vocabulary.pad_id
    if start is not None and start == getattr(config, "pad_token_id", None):
        return vocabulary.pad_id
    if start is not None and start == getattr(config, "bos_token_id", None):
        is_also_end = start == getattr(config, "eos_token_id", None)
        return vocabulary.eos_id if is_also_end else vocabulary.bos_id
    return vocabulary.eos_id


def seq2seq_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int]:
    """What a configuration is told of our vocabulary's special tokens."""
    return {
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "decoder_start_token_id": start_id(config, vocabulary),
    }


def causal_ids(config: Any, vocabulary: Vocabulary) -> dict[str, int | None]:
    """As `seq2seq_ids`, without a start token.

    Embeddings of a model's padding never learn; where the end of a sentence stands in for padding,
    the model is told of none.
    """
    is_end = vocabulary.pad_id == vocabulary.eos_id
    return {
        "pad_token_id": None if is_end else vocabulary.pad_id,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
    }


def _no_reason(_: Any) -> str:
    """Any encoder-decoder will do."""
    return ""


def _why_not_causal(config: Any) -> str:
    """Why a model cannot be a causal backbone; empty where it can."""
    model_type = config.model_type
    if config.get_text_config() is not config:
        return f"a `{model_type}` is several models in one; save its text model alone and take that"
    # GPT-NeoX has the key and reads in one direction whatever it says.
    if hasattr(config, "is_decoder") and not model_type.startswith("gpt_neox"):
        return f"a `{model_type}` is an encoder, which sees the text that it should write"
    if getattr(config, "hidden_size_per_layer_input", None):
        return f"a `{model_type}` looks tokens up in every layer, so it cannot read vectors"
    if getattr(MODEL_FOR_CAUSAL_LM_MAPPING[type(config)], "_is_stateful", False):
        return f"a `{model_type}` carries a state from token to token, into which padding would run"
    return ""


@dataclass(frozen=True)
class Family:
    """A family of language models.

    Attributes:
        kind: its `kind` in a recipe.
        noun: for people.
        examples: for people.
        auto: Hugging Face's Auto class.
        architectures: model types that belong to it.
        special_ids: (configuration or its class, vocabulary) → keys of the configuration.
        why_not: configuration → why such a model cannot be used; empty where it can.
    """

    kind: str
    noun: str
    examples: str
    auto: Any
    architectures: tuple[str, ...]
    special_ids: Callable[[Any, Vocabulary], dict[str, Any]]
    why_not: Callable[[Any], str]


SEQ2SEQ = Family(
    kind="seq2seq",
    noun="encoder-decoder",
    examples="`m2m_100`, `bart`, `mbart` or `t5`",
    auto=AutoModelForSeq2SeqLM,
    architectures=(*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, TarresConfig.model_type),
    special_ids=seq2seq_ids,
    why_not=_no_reason,
)
CAUSAL = Family(
    kind="causal",
    noun="decoder that stands alone",
    examples="`llama`, `qwen2`, `gemma` or `gpt2`",
    auto=AutoModelForCausalLM,
    architectures=tuple(
        name
        for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        if name not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    ),
    special_ids=causal_ids,
    why_not=_why_not_causal,
)
