"""A clip: one utterance of a corpus, as its metadata tells it. No media is opened to make one."""

from dataclasses import dataclass, field

from kinesweep.core.units import Span

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One utterance.

    Attributes:
        id: unique in the corpus.
        split: `train`, `validation` or `test`.
        media: the media file, relative to the corpus root.
        span: the part of the file that is meant.
        texts: one or more reference sentences; the first is the training target.
        encoder_prompt: text before the frames, for example a language tag.
        decoder_prompt: text that generation is forced to begin with.
        document: what the clip was cut from; clips of a document belong together.
        order: place within the document.
        signer: who signs, or empty.
        gloss: the glosses, separated by spaces, or empty.
        language: of the text, or empty.
        corpus: name of its corpus, where there are several.
        keywords: words that the clip is said to hold; not all corpora have them.
        reference: what its motion is compared with, as its corpus names it, or empty.
        row: where the metadata stands, for messages: `train.tsv:12`.
    """

    id: str
    split: str
    media: str
    span: Span = field(default_factory=Span)
    texts: tuple[str, ...] = ()
    encoder_prompt: str = ""
    decoder_prompt: str = ""
    document: str = ""
    order: int = 0
    signer: str = ""
    gloss: str = ""
    language: str = ""
    row: str = ""
    corpus: str = ""
    keywords: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True)
class RowProblem:
    """A row of a corpus that cannot be used, with the reason under which it is counted.

    Attributes:
        row: where it stands: `train.tsv:12`.
        clip_id: of the clip that it would be.
        reason: a short stable word.
        message: the same in a sentence.
        split: of a clip that is listed, but whose media cannot be used; empty for a row that says
            nothing to learn from, and so is no clip of its split.
    """

    row: str
    clip_id: str
    reason: str
    message: str
    split: str = ""
