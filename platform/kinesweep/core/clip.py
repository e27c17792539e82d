"""A clip: one utterance of a corpus, built from the metadata alone without opening any media."""

from dataclasses import dataclass, field

from kinesweep.core.units import Span

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One utterance of a corpus, with its texts and its place in a media file.

    Attributes:
        id: Identifier, unique in the corpus.
        split: `train`, `validation` or `test`.
        media: Path of the media file, relative to the corpus root.
        span: Part of the file that the clip covers.
        texts: One or more reference sentences; the first is the default training target.
        encoder_prompt: Text before the frames, for example a language tag.
        decoder_prompt: Text that generation is forced to begin with.
        document: Recording or document that the clip was cut from; empty if unknown.
        order: Position within the document, by which clips of a document are sorted.
        signer: Name of the signer, or empty.
        gloss: Glosses separated by spaces, or empty.
        language: Language of the text, or empty.
        row: Location of the metadata, for messages: `train.tsv:12`.
        corpus: Name of the corpus if the recipe combines several, otherwise empty.
        keywords: Words that the metadata lists for the clip; not all corpora have them.
        reference: Name of the reference motion that the clip is compared with, as the corpus
            writes it, or empty.
        reference_span: Part of the reference motion that the clip is compared with, counted from
            the first frame of the motion; full: all of it, or the span of the row it names.
        augmented_texts: Further training targets, such as rephrasings of the texts. They are never
            references of an evaluation; only clips of the training split have them.
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
    reference_span: Span = field(default_factory=Span)
    augmented_texts: tuple[str, ...] = ()

    @property
    def training_texts(self) -> tuple[str, ...]:
        """Return the possible targets of training: the references, then the augmented texts."""
        return (*self.texts, *self.augmented_texts)


@dataclass(frozen=True)
class InvalidRow:
    """A corpus row that cannot be used, with the reason under which it is counted.

    Attributes:
        row: Location of the row: `train.tsv:12`.
        clip_id: Id that the clip would have.
        reason: Short, stable key, for example `missing_file`.
        message: Explanation in a full sentence.
        split: Split of a listed clip with unusable media; empty for a row without anything to
            learn from (such as a row without a text), which does not count as a clip.
    """

    row: str
    clip_id: str
    reason: str
    message: str
    split: str = ""


@dataclass(frozen=True)
class CorpusWarning:
    """A finding about a corpus that does not make a row unusable, but may make it wrong.

    Attributes:
        row: Location of the row, `train.tsv:12`, or the name of the split or corpus.
        kind: Short, stable key, for example `implausible_rate`.
        message: Explanation in a full sentence that says what to change.
    """

    row: str
    kind: str
    message: str
