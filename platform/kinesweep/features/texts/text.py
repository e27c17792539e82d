"""Text features: the token ids of a source text, one in each row of the stream.

Ids are stored as int32, because float16 holds whole numbers up to 2,048 only. A text has no time;
one token a second stands for its rate. Shapes: T tokens, D = 1.
"""

from dataclasses import dataclass

import numpy as np

from kinesweep.config.recipe.features.text import TextFeaturesConfig
from kinesweep.core.errors import ClipError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.features.contract import Features
from kinesweep.features.texts.source_tokenizers import (
    build_source_tokenizer,
    compute_tokenizer_fingerprint,
)
from kinesweep.sources.base import SourceText

# Increase this when the ids for an unchanged configuration change.
CODE_VERSION = 1
UNTIMED_RATE_HZ = 1.0
"""Nominal rate of streams without time: texts, and images of signs or words."""


@dataclass(frozen=True)
class TextFeatures:
    """A feature step that tokenizes texts.

    Attributes:
        config: Tokenizer and name of the stream.
    """

    config: TextFeaturesConfig

    @property
    def streams(self) -> tuple[str, ...]:
        """Return the name of the single stream, as set in the recipe."""
        return (self.config.stream,)

    @property
    def fingerprint(self) -> str:
        """Return a hash of the tokenizer with its files, and of the code version.

        Raises:
            InputError: If the files of a pretrained tokenizer do not exist.
        """
        tokenizer = compute_tokenizer_fingerprint(self.config.tokenizer)
        return compute_fingerprint({"tokenizer": tokenizer, "code": CODE_VERSION})

    def compute_features(self, media: SourceText) -> dict[str, Features]:
        """Tokenize a text: the configured stream → ids, int32 (T, 1).

        Raises:
            ClipError: With reason `no_tokens`, or `invalid_fsw` for SignWriting.
            InputError: If a pretrained tokenizer cannot be loaded.
        """
        tokenizer = build_source_tokenizer(self.config.tokenizer)
        ids_T = np.asarray(list(tokenizer.encode(media.text)), np.int32)
        if not len(ids_T):
            raise ClipError("the text has no tokens", "no_tokens")
        features = Features(ids_T[:, None], UNTIMED_RATE_HZ, vocabulary=tokenizer.vocabulary)
        return {self.config.stream: features}

    def estimate_shapes(self, media: SourceText) -> dict[str, tuple[int, int]]:
        """Return the exact shape of the stream: its name → (T, 1).

        Raises:
            ClipError: With reason `invalid_fsw`, for SignWriting.
        """
        tokenizer = build_source_tokenizer(self.config.tokenizer)
        return {self.config.stream: (len(tokenizer.encode(media.text)), 1)}
