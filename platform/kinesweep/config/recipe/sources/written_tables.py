"""Recipe section `source` for texts and SignWriting, which the tables contain themselves."""

from typing import Literal

from pydantic import Field

from kinesweep.config.corpus import CorpusConfig


class _WrittenTableConfig(CorpusConfig):
    """Settings shared by corpora whose tables contain the input of each clip as text."""

    ignore_columns: tuple[str, ...] = Field(
        (), description="Unknown columns that the TSVs may contain; they are ignored."
    )


class TextTsvConfig(_WrittenTableConfig):
    """A corpus of texts to translate: the column `signal` contains the source text."""

    kind: Literal["text_tsv"] = Field(description="Format of the corpus.")


class SignWritingTsvConfig(_WrittenTableConfig):
    """A corpus of SignWriting: the column `signal` contains Formal SignWriting in ASCII (FSW)."""

    kind: Literal["signwriting_tsv"] = Field(description="Format of the corpus.")
