"""Texts to translate: lines of text files and rows of tables, for models of written language."""

from functools import partial
from pathlib import Path

from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, InputError
from kinesweep.core.tables.text_encoding import decode_text
from kinesweep.export.raw_inputs import Input
from kinesweep.sources.base import SourceText
from kinesweep.sources.written.text_tsv import make_source_text

WrittenConfig = TextTsvConfig | SignWritingTsvConfig


def read_line_inputs(file: Path, config: WrittenConfig) -> list[tuple[str, Input]]:
    """Read the lines of a text file as inputs, each with the file and the line number as its name.

    Empty lines are left out. A file with a single line has the name of the file.

    Args:
        file: Text file in UTF-8.
        config: Corpus that the model was trained on.

    Raises:
        InputError: If the file cannot be read or has no text.
    """
    try:
        lines = decode_text(file.read_bytes()).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"`{file}` cannot be read: {error}") from None
    texts = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not texts:
        raise InputError(f"`{file}` has no text to translate")
    # Numbers of lines are those of an editor, although empty lines are left out.
    names = [str(file)] if len(texts) == 1 else [f"{file}:{number}" for number, _ in texts]
    return [
        (name, Input(file, read_media=partial(_read_text, text, name, config)))
        for name, (_, text) in zip(names, texts, strict=True)
    ]


def make_text_input(table: Path, clip: Clip, config: WrittenConfig, document: str) -> Input:
    """Convert a row of a table of texts to an input.

    An empty prompt becomes None, which selects the bundle's default.

    Args:
        table: Path of the table.
        clip: Row of the table.
        config: Corpus that the model was trained on.
        document: Name of the document that the clip is part of, or an empty string.
    """
    return Input(
        table,
        encoder_prompt=clip.encoder_prompt or None,
        decoder_prompt=clip.decoder_prompt or None,
        document=document,
        order=clip.order,
        read_media=partial(_read_text, clip.media, clip.row, config),
    )


def _read_text(text: str, location: str, config: WrittenConfig) -> SourceText:
    """Return the media of a text.

    Args:
        text: Text to translate.
        location: Location of the text, for the message of an error.
        config: Corpus that the model was trained on.

    Raises:
        ClipError: With reason `invalid_fsw`; the message begins with the location.
    """
    try:
        return make_source_text(text, config)
    except ClipError as error:
        raise ClipError(f"{location}: {error}", error.reason) from None
