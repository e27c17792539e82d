"""The summary of a sample corpus, for people (README.txt) and for programs (sample.json)."""

from dataclasses import asdict, dataclass

from kinesweep.core.html_table import format_html_key_values
from kinesweep.sources.synthetic.layout import FPS
from kinesweep.sources.synthetic.lexicon import get_lexicon
from kinesweep.sources.synthetic.oracle import compute_perfect_recognition_bleu
from kinesweep.sources.synthetic.plan import SPLITS, SampleClip

_README_TEMPLATE = """Synthetic sample corpus for Kinesweep
=====================================

The language in these files and its signers are invented: no person was recorded, and no sign of a
real sign language is shown. Use the corpus to try out and test a pipeline, not to study sign
languages.

Format: `.pose` v0.2, MediaPipe Holistic layout (576 points), {fps:g} frames per second, one person.
One table per split: {tables}; paths are relative to this folder.
Generated with: clips {clips}, seed {seed}.

clips        train {train}, validation {validation}, test {test}
frames       {frames}
signs        {signs} in the lexicon
signers      {signers}, of whom {test_only_signers} appear in test only
sentences    all distinct; no two splits share one
upper bound  {bleu:.1f} BLEU on validation with perfect recognition of all signs and marks; the rest
             is the choice between synonyms, which the signs do not show
"""


@dataclass(frozen=True)
class SampleSummary:
    """The summary of a written sample corpus.

    Attributes:
        fingerprint: Hash that identifies the contents of the corpus.
        clips: Number of clips of all splits together.
        seed: Random seed of the corpus.
        train: Number of clips in train.
        validation: Number of clips in validation.
        test: Number of clips in test.
        signs: Number of signs in the lexicon.
        signers: Number of signers of the clips.
        test_only_signers: Number of signers who are in test but in no other split.
        frames: Number of frames of all clips.
        num_bytes: Size of the `.pose` files in bytes.
        perfect_recognition_bleu: BLEU score on validation of a system with perfect sign
            recognition, from 0 to 100.
    """

    fingerprint: str
    clips: int
    seed: int
    train: int
    validation: int
    test: int
    signs: int
    signers: int
    test_only_signers: int
    frames: int
    num_bytes: int
    perfect_recognition_bleu: float

    def __str__(self) -> str:
        return (
            f"Sample corpus: {self.train} + {self.validation} + {self.test} clips "
            f"(train, validation, test), {self.frames} frames, {self.num_bytes / 1e6:.0f} MB; "
            f"{self.signs} signs, {self.signers} signers. "
            "Upper bound with perfect sign recognition: "
            f"{self.perfect_recognition_bleu:.1f} BLEU on validation."
        )

    def _repr_html_(self) -> str:
        """Return the summary as an HTML table, which notebooks display."""
        return format_html_key_values("Sample corpus", self.as_dict())

    def as_dict(self) -> dict[str, str | int | float]:
        """Return the values of the summary by field name, ready for JSON."""
        return asdict(self)

    def format_readme(self) -> str:
        """Format the summary as the text of README.txt, which describes the corpus to people."""
        tables = ", ".join(f"{split}.tsv" for split in SPLITS)
        return _README_TEMPLATE.format(
            fps=FPS, tables=tables, bleu=self.perfect_recognition_bleu, **self.as_dict()
        )


def build_summary(
    clips: list[SampleClip], seed: int, fingerprint: str, num_frames: int, num_bytes: int
) -> SampleSummary:
    """Build the summary of a corpus, and compute its upper bound on the validation split.

    Args:
        clips: All clips of the corpus.
        seed: Random seed of the corpus.
        fingerprint: Fingerprint of the corpus.
        num_frames: Number of frames of all clips.
        num_bytes: Size of the `.pose` files in bytes.
    """
    train, validation, test = ([clip for clip in clips if clip.split == split] for split in SPLITS)
    signers = {clip.signer.name for clip in clips}
    non_test_signers = {clip.signer.name for clip in (*train, *validation)}
    glosses_and_references = [(clip.meaning.to_glosses(), clip.text) for clip in validation]
    return SampleSummary(
        fingerprint=fingerprint,
        clips=len(clips),
        seed=seed,
        train=len(train),
        validation=len(validation),
        test=len(test),
        signs=len(get_lexicon()),
        signers=len(signers),
        test_only_signers=len(signers - non_test_signers),
        frames=num_frames,
        num_bytes=num_bytes,
        perfect_recognition_bleu=round(compute_perfect_recognition_bleu(glosses_and_references), 2),
    )
