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
    """A clip to be generated.

    Attributes:
        number: Index of the clip in all splits together, which seeds its noise.
        split: `train`, `validation` or `test`.
        name: Name of the clip and of its file.
        document: Name of the document that the clip belongs to.
        signer: Signer of the clip.
        meaning: Meaning of the sentence.
        text: English sentence.
    """

    number: int
    split: str
    name: str
    document: str
    signer: Signer
    meaning: Meaning
    text: str

    @property
    def path(self) -> str:
        """Return the path of the `.pose` file in the corpus folder, with forward slashes."""
        return f"poses/{self.split}/{self.name}.pose"


def plan_clips(num_clips: int, seed: int) -> list[SampleClip]:
    """Plan all clips of a corpus, each with a sentence of its own.

    The clips are ordered by split (train, validation, test) and then by document.

    Args:
        num_clips: Number of clips of all splits together.
        seed: Random seed for sentences and signers.
    """
    # Sentences and signers have separate generators: adding a signer does not change the sentences.
    sentences = _iter_sentences(np.random.default_rng([seed, 0]))
    num_validation, num_test = round(num_clips * VALIDATION_SHARE), round(num_clips * TEST_SHARE)
    split_sizes = {
        "train": num_clips - num_validation - num_test,
        "validation": num_validation,
        "test": num_test,
    }
    rng = np.random.default_rng([seed, 1])
    clips: list[SampleClip] = []
    for split, split_size in split_sizes.items():
        for index in range(split_size):
            document_index = index // CLIPS_PER_DOCUMENT
            if index % CLIPS_PER_DOCUMENT == 0:  # the signer stays for the whole document
                signer = _draw_signer(rng, split, document_index)
            meaning, text = next(sentences)
            name = f"{split}_{index:05d}"
            document = f"{split}_{document_index:04d}"
            clips.append(SampleClip(len(clips), split, name, document, signer, meaning, text))
    return clips


def _iter_sentences(rng: np.random.Generator) -> Iterator[tuple[Meaning, str]]:
    """Yield random meanings, each with an English sentence, without end.

    No two meanings have the same most likely sentence.
    """
    used_sentences: set[str] = set()
    probabilities = SentenceProbabilities()
    while True:
        meaning = draw_meaning(rng, probabilities)
        most_likely_sentence = generate_english(meaning)
        text = generate_english(meaning, rng)
        # Compared without synonyms: sentences that differ only in a synonym have equal signs.
        if most_likely_sentence in used_sentences:
            continue
        used_sentences.add(most_likely_sentence)
        yield meaning, text


def _draw_signer(rng: np.random.Generator, split: str, document_index: int) -> Signer:
    """Return the signer of a document: a random shared one, or in turn one who is in test only.

    Args:
        rng: Random generator, which draws the shared signers.
        split: Split of the document.
        document_index: Index of the document in its split.
    """
    cycle, position = divmod(document_index, UNSEEN_SIGNER_PERIOD)
    if split == "test" and position == 1:
        return TEST_ONLY_SIGNERS[cycle % len(TEST_ONLY_SIGNERS)]
    return SHARED_SIGNERS[int(rng.integers(len(SHARED_SIGNERS)))]
