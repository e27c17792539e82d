"""Streams of token ids in a model: checks of their encoders, and shared embeddings.

Only an encoder of kind `tokens` can read ids, and it can read nothing else. With shared embeddings,
the tokens of the stream must be those of the model's own tokenizer, or every word would be read as
another one.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.encoders import TokensEncoderConfig
from kinesweep.core.errors import ConfigError
from kinesweep.core.vocabulary import TokenVocabulary


def check_token_encoders(
    config: ModelConfig, streams: Mapping[str, int], vocabularies: Mapping[str, TokenVocabulary]
) -> None:
    """Check that exactly the streams of token ids have encoders of kind `tokens`.

    Args:
        config: The recipe's `model` section.
        streams: Stream → width D, for the streams of the store.
        vocabularies: Stream → vocabulary, for the streams of token ids.

    Raises:
        ConfigError: If an encoder does not fit its stream; all are listed.
    """
    problems = []
    for name in streams:
        encoder = config.get_encoder_config(name)
        path = f"model.encoders.{name}.kind" if name in config.encoders else "model.encoder.kind"
        has_token_encoder = isinstance(encoder, TokensEncoderConfig)
        if name in vocabularies and not has_token_encoder:
            text = f"is {encoder.kind}, but `{name}` holds token ids; set it to tokens"
            problems.append((path, text))
        elif name not in vocabularies and has_token_encoder:
            text = f"is tokens, but `{name}` holds no token ids (`features: {{kind: text}}`)"
            problems.append((path, text))
    if problems:
        raise ConfigError("the model", problems)


def check_shared_vocabularies(
    config: ModelConfig,
    vocabularies: Mapping[str, TokenVocabulary],
    compute_sha256: Callable[[int], str],
) -> None:
    """Check that streams that share the backbone's embeddings have its tokens.

    Args:
        config: The recipe's `model` section.
        vocabularies: Stream → vocabulary, for the streams of token ids.
        compute_sha256: Function that returns the hash of the tokens of the model's tokenizer with
            ids below a number.

    Raises:
        ConfigError: If a stream has other tokens; all are listed.
    """
    problems = []
    for name, vocabulary in vocabularies.items():
        encoder = config.get_encoder_config(name)
        if not isinstance(encoder, TokensEncoderConfig) or encoder.embeddings == "own":
            continue
        # The model's tokenizer may have more tokens, such as tags of prompts, after these.
        if compute_sha256(vocabulary.size) != vocabulary.sha256:
            path = f"model.encoders.{name}" if name in config.encoders else "model.encoder"
            text = (
                f"is backbone, but the {vocabulary.size} tokens of `{name}` ({vocabulary.kind})"
                " are not those of the model's tokenizer; extract them with `features.tokenizer` of"
                " kind pretrained, the same folder and the same `new_tokens`, or set it to own"
            )
            problems.append((f"{path}.embeddings", text))
    if problems:
        raise ConfigError("the model", problems)


def prepare_streams(
    streams: Mapping[str, Tensor],
    encoders: nn.ModuleDict,
    embed_tokens: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Return the streams as their encoders read them.

    Args:
        streams: Name → features or token ids, (B, T, D).
        encoders: Name → encoder.
        embed_tokens: Function that embeds ids (B, T) as the backbone does, (B, T, E).
        dtype: Type of the backbone's vectors.

    Returns:
        Name → features in `dtype`; ids stay whole numbers, and those with shared embeddings become
        vectors of the backbone.
    """

    def prepare(name: str, x_BTD: Tensor) -> Tensor:
        """Return one stream as its encoder reads it."""
        if name in encoders and getattr(encoders[name], "shares_embeddings", False):
            return embed_tokens(x_BTD[..., 0].to(torch.long))
        # Half precision would round ids to other ids.
        return x_BTD.to(dtype) if x_BTD.is_floating_point() else x_BTD

    return {name: prepare(name, x_BTD) for name, x_BTD in streams.items()}
