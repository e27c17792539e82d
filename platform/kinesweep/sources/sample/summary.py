"""What a sample corpus holds, for people (README.txt) and for programs (sample.json)."""

from dataclasses import asdict, dataclass

from kinesweep.sources.sample.layout import FPS
from kinesweep.sources.sample.lexicon import lexicon
from kinesweep.sources.sample.plan import SPLITS, SampleClip
from kinesweep.sources.sample.recogniser import perfect_recogniser_bleu

_CARD = """A sample corpus for Kinesweep, made by code
============================================

The language in these files is invented, and so are its signers: no person was recorded, and no
sign of any real sign language is shown. Do not study sign languages with it; use it to see a
pipeline run and to test one.

Format: `.pose` v0.2, MediaPipe Holistic layout (576 points), {fps:g} frames a second, one person.
One table a split: {tables}; paths are relative to this folder.
Made with: clips {clips}, seed {seed}.

clips        train {train}, validation {validation}, test {test}
frames       {frames}
signs        {signs} in the lexicon
signers      {signers}, of whom {test_only_signers} appear in test alone
sentences    all different; no two splits share one
perfect recogniser
             A system that recognised every sign and mark and then wrote the likeliest English
             would score {bleu:.1f} BLEU on validation (the rest is the choice between synonyms).
"""


@dataclass(frozen=True)
class SampleSummary:
    """What was written.

    `fingerprint` stands for every byte of the corpus; `perfect_recogniser_bleu` is the validation
    BLEU of a system that recognises every sign.
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
    perfect_recogniser_bleu: float

    def __str__(self) -> str:
        return (
            f"Sample corpus: {self.train} + {self.validation} + {self.test} clips "
            f"(train, validation, test), {self.frames} frames, {self.num_bytes / 1e6:.0f} MB; "
            f"{self.signs} signs, {self.signers} signers. "
            f"A perfect recogniser of signs scores {self.perfect_recogniser_bleu:.1f} BLEU."
        )

    def as_dict(self) -> dict[str, str | int | float]:
        """Plain values, for JSON."""
        return asdict(self)

    def card(self) -> str:
        """The text of README.txt."""
        tables = ", ".join(f"{split}.tsv" for split in SPLITS)
        return _CARD.format(
            fps=FPS, tables=tables, bleu=self.perfect_recogniser_bleu, **self.as_dict()
        )


def summarise(
    plan: list[SampleClip], seed: int, fingerprint: str, frames: int, num_bytes: int
) -> SampleSummary:
    """Count what the plan says and state the ceiling of its validation split."""
    train, validation, test = ([c for c in plan if c.split == split] for split in SPLITS)
    signers = {clip.signer.name for clip in plan}
    known = {clip.signer.name for clip in (*train, *validation)}
    told = [(clip.meaning.glosses(), clip.text) for clip in validation]
    return SampleSummary(
        fingerprint=fingerprint,
        clips=len(plan),
        seed=seed,
        train=len(train),
        validation=len(validation),
        test=len(test),
        signs=len(lexicon()),
        signers=len(signers),
        test_only_signers=len(signers - known),
        frames=frames,
        num_bytes=num_bytes,
        perfect_recogniser_bleu=round(perfect_recogniser_bleu(told), 2),
    )
