"""The language tags of a corpus, where a person set them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompts:
    """Language tags that replace those of a corpus.

    Attributes:
        encoder: Encoder prompt, or None for that of the corpus.
        decoder: Decoder prompt, or None for the tag of the text's language.
        language: Language code of the texts, or None for that of the corpus.
    """

    encoder: str | None = None
    decoder: str | None = None
    language: str | None = None


def make_language_tag(language: str) -> str:
    """Return the prompt of a language, such as `__de__`; empty without a language."""
    return f"__{language.lower()}__" if language else ""
