"""Recipe section `features` for texts and SignWriting: tokens, with the vocabulary they come from.

Which vocabulary suits is a question of the model: `pretrained` with the folder of the backbone lets
the encoder share the backbone's embeddings; the others have embeddings of their own.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.config.token_list import NewTokens


class BytesTokenizerConfig(StrictConfig):
    """Bytes of the text in UTF-8: 256 tokens, for any language and without unknown tokens."""

    kind: Literal["bytes"] = Field("bytes", description="Kind of tokens.")


class FswTokenizerConfig(StrictConfig):
    """Boxes, symbols, rotations, fills and coordinates of SignWriting: 1,182 tokens."""

    kind: Literal["fsw"] = Field(description="Kind of tokens.")


class WordsTokenizerConfig(StrictConfig):
    """Words between spaces from a given list, such as glosses; all others are one unknown token."""

    kind: Literal["words"] = Field(description="Kind of tokens.")
    words: NewTokens = Field(
        description="The words: a list, a comma-separated text, or a file with one word per line."
    )
    lowercase: bool = Field(False, description="Lowercase texts before they are split.")

    @model_validator(mode="after")
    def _check_words(self) -> "WordsTokenizerConfig":
        """Check that there are words, and none twice."""
        if not self.words:
            raise ValueError("`words` is empty; list the words of the source texts")
        if len(set(self.words)) < len(self.words):
            repeated = next(word for word in self.words if self.words.count(word) > 1)
            raise ValueError(f"`words` lists `{repeated}` twice")
        return self


class PretrainedTextTokenizerConfig(StrictConfig):
    """A Hugging Face tokenizer, without the special tokens that it would add around a text."""

    kind: Literal["pretrained"] = Field(description="Kind of tokens.")
    path: str = Field(
        description="Local folder or hub id of the tokenizer. For shared embeddings, the one of"
        " the backbone."
    )
    new_tokens: NewTokens = Field(
        (),
        description="Tokens to add, as in `model.tokenizer.new_tokens`. Tokens that exist already"
        " are ignored.",
    )
    lowercase: bool = Field(False, description="Lowercase texts before tokenization.")


SourceTokenizerConfig = Annotated[
    BytesTokenizerConfig
    | FswTokenizerConfig
    | WordsTokenizerConfig
    | PretrainedTextTokenizerConfig,
    Field(discriminator="kind"),
]


class TextFeaturesConfig(StrictConfig):
    """Token ids of a text, which an encoder of kind `tokens` embeds."""

    kind: Literal["text"] = Field(description="Kind of features.")
    stream: str = Field("text", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    tokenizer: SourceTokenizerConfig = Field(
        BytesTokenizerConfig(), description="Tokens of the source texts."
    )
