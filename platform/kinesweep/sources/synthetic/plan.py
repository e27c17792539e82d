"""The plan of the sample corpus: sentence, signer, document and split of each clip.

Sentences are drawn until there are enough distinct ones, so no two splits share a sentence. A
document consists of eight clips of one signer. The plan contains no poses and takes 0.2 s for 3,700
clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kinesweep.sources.synthetic.english import generate_english
from kinesweep.sources.synthetic.grammar import Meaning, SentenceProbabilities, draw_meaning
from kinesweep.sources.synthetic.signers import SHARED_SIGNERS, TEST_ONLY_SIGNERS, Signer

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE, TEST_SHARE = 0.12, 0.1
CLIPS_PER_DOCUMENT = 8
UNSEEN_SIGNER_PERIOD = 3
"""Period of the test documents by signers who are not in train: the second document and every third
one after it."""


@dataclass(frozen=True)
class SampleClip:
    """A clip to be generated; `number` counts through all splits and seeds its noise."""

    number: int
    split: str
    name: str
    document: str
    signer: Signer
    meaning: Meaning
    text: str

    @property
    def path(self) -> str:
        """Return the path of the clip in the corpus folder, with forward slashes."""
        return f"poses/{self.split}/{self.name}.pose"


def plan_clips(clips: int, seed: int) -> list[SampleClip]:
    """Plan all clips in the order of splits and documents, each with a sentence of its own.

    Args:
        clips: Number of clips of all splits together.
        seed: Random seed for sentences and signers.
    """
    # Sentences and signers have separate generators: adding a signer does not change the sentences.
    sentences = _iter_sentences(np.random.default_rng([seed, 0]))
    validation, test = round(clips * VALIDATION_SHARE), round(clips * TEST_SHARE)
    sizes = {"train": clips - validation - test, "validation": validation, "test": test}
    rng = np.random.default_rng([seed, 1])
    plan: list[SampleClip] = []
    for split, size in sizes.items():
        for index in range(size):
            document = index // CLIPS_PER_DOCUMENT
            if index % CLIPS_PER_DOCUMENT == 0:  # the signer stays for the whole document
                signer = _draw_signer(rng, split, document)
            meaning, text = next(sentences)
            name = f"{split}_{index:05d}"
            folder = f"{split}_{document:04d}"
            plan.append(SampleClip(len(plan), split, name, folder, signer, meaning, text))
    return plan


def _iter_sentences(rng: np.random.Generator) -> Iterator[tuple[Meaning, str]]:
    """Yield meanings with their text without end; no two share their most likely sentence."""
    used_sentences: set[str] = set()
    mix = SentenceProbabilities()
    while True:
        meaning = draw_meaning(rng, mix)
        canonical = generate_english(meaning)
        text = generate_english(meaning, rng)
        # Compared without synonyms: sentences that differ only in a synonym have equal signs.
        if canonical in used_sentences:
            continue
        used_sentences.add(canonical)
        yield meaning, text


def _draw_signer(rng: np.random.Generator, split: str, document: int) -> Signer:
    """Draw the signer of a document; some test documents take turns among the test-only signers."""
    cycle, position = divmod(document, UNSEEN_SIGNER_PERIOD)
    if split == "test" and position == 1:
        return TEST_ONLY_SIGNERS[cycle % len(TEST_ONLY_SIGNERS)]
    return SHARED_SIGNERS[int(rng.integers(len(SHARED_SIGNERS)))]
