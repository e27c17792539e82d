"""Training examples: the question and the answer for each clip in each epoch.

Usually the question asks for the text and the answer is the first reference. With a mixture of
tasks, other questions ask whether a word is signed, which words are signed, or whether the clip
runs backwards. A clip with several references can be trained on the first, on a random one, on
each, or on the one the model currently finds likeliest. Everything is a pure function of seed,
epoch and clip. Words are compared case-insensitively: the keyword "Hello" matches "hello".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptConfig, TasksConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import generator
from kinesweep.store.format.index import ClipRecord

# Number of words in a `which_words` question, and maximum number of them that are signed.
_SHOWN, _MOST_RIGHT = 4, 2


@dataclass(frozen=True)
class Example:
    """A question with its answer.

    Attributes:
        answer: Correct answer.
        question: Question that replaces the recipe's own; None: translation.
        backwards: Whether the frames are reversed.
        others: Further correct answers; the model learns the closest one.
    """

    answer: str
    question: str | None = None
    backwards: bool = False
    others: tuple[str, ...] = ()

    @classmethod
    def translation(cls, clip: Clip) -> "Example":
        """Return the example of translating a clip, with its first reference."""
        return cls(clip.texts[0] if clip.texts else "")


class Examples:
    """The examples of a split.

    Args:
        records: Clips of the split.
        config: Tasks, choice of references, and ablation.
        prompt: Texts of questions and answers.
        seed: Random seed for tasks, references, words and the ablation.

    Attributes:
        records: Clip of each example. With `reference_choice: each` a clip occurs once per
            reference.

    Raises:
        InputError: If a task needs words and the clips have too few.
    """

    def __init__(
        self, records: Sequence[ClipRecord], config: BatchConfig, prompt: PromptConfig, seed: int
    ) -> None:
        self._config, self._prompt, self._seed = config, prompt, seed
        # Answers to other questions would remain correct and reveal the words of the clip.
        shuffled = config.ablation == "shuffled"
        self._shares = {"translation": 1.0} if shuffled else config.tasks.shares
        pairs = [
            (record, text)
            for record in records
            for text in _texts(record.clip, config.reference_choice)
        ]
        self.records = [record for record, _ in pairs]
        self._targets = [text for _, text in pairs]
        if shuffled:
            self._targets = _wrong_pairs(self._targets, seed)
        self._words = _all_words(self.records) if self._asks_for_words else []
        if self._asks_for_words and len(self._words) < _SHOWN:
            raise InputError(
                "`batch.tasks` needs words, but the training clips have only"
                f" {len(self._words)} (at least {_SHOWN} are needed). Words come from the keywords"
                " or glosses of the corpus. Set `word_present` and `which_words` to 0."
            )

    @property
    def vary(self) -> bool:
        """Whether an example can differ between epochs."""
        return len(self._shares) > 1 or self._config.reference_choice == "random"

    def of(self, index: int, epoch: int) -> Example:
        """Return the example at this index in an epoch."""
        record = self.records[index]
        if not self.vary:
            return Example(self._targets[index], others=self._others_of(index))
        # The target is part of the key: with `each`, examples of one clip draw independently.
        rng = generator(self._seed, "example", epoch, record.clip.id, self._targets[index])
        task = str(rng.choice(list(self._shares), p=list(self._shares.values())))
        if task == "reversed":
            backwards = bool(rng.integers(2))
            return Example(self._said(backwards), self._prompt.reversed, backwards)
        own = words_of(record.clip)
        # A clip without words falls back to translation.
        if task != "translation" and own:
            return self._about_words(task, own, rng)
        return Example(self._translation(index, rng), others=self._others_of(index))

    def translations(self, index: int) -> list[Example]:
        """Return the translation examples at this index, one per reference that may be drawn.

        Other tasks are left out, because their answers are short.
        """
        texts = self.records[index].clip.texts
        one = self._config.reference_choice != "random" or self._config.ablation == "shuffled"
        answers = [self._targets[index]] if one else texts or ("",)
        return [Example(answer, others=self._others_of(index)) for answer in answers]

    @property
    def _asks_for_words(self) -> bool:
        """Whether one of the tasks needs words."""
        return bool({"word_present", "which_words"} & self._shares.keys())

    def _translation(self, index: int, rng: np.random.Generator) -> str:
        """Return the target of a translation in this epoch."""
        texts = self.records[index].clip.texts
        if self._config.reference_choice != "random" or self._config.ablation == "shuffled":
            return self._targets[index]
        return str(texts[rng.integers(len(texts))]) if texts else ""

    def _others_of(self, index: int) -> tuple[str, ...]:
        """Return the other references of a clip; none for a shuffled pair."""
        # The clip's own references would be correct answers, which the ablation must not show.
        closest = (
            self._config.reference_choice == "min_loss" and self._config.ablation != "shuffled"
        )
        return self.records[index].clip.texts[1:] if closest else ()

    def _about_words(self, task: str, own: Sequence[str], rng: np.random.Generator) -> Example:
        """Return an example of task `word_present` or `which_words`."""
        if task == "word_present":
            others = self._others(own, 1, rng)
            # The answer is yes in half of the cases, and always if no other word exists.
            there = bool(rng.integers(2)) or not others
            word = str(rng.choice(own)) if there else others[0]
            return Example(self._said(there), self._prompt.word_present.format(word=word))
        right = list(rng.choice(own, min(len(own), _MOST_RIGHT), replace=False))
        shown = [*right, *self._others(own, _SHOWN - len(right), rng)]
        words = [str(shown[i]) for i in rng.permutation(len(shown))]
        answer = ", ".join(word for word in words if word in right)
        return Example(answer, self._prompt.which_words.format(words=", ".join(words)))

    def _others(self, own: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Return up to `count` different words that the clip does not contain."""
        found: list[str] = []
        mine = {word.casefold() for word in own}
        for place in rng.permutation(len(self._words)):
            word = self._words[place]
            if word.casefold() not in mine:
                found.append(word)
                if len(found) == count:
                    break
        return found

    def _said(self, yes: bool) -> str:
        """Return the text of the answer yes or no."""
        return self._prompt.yes if yes else self._prompt.no


def prompt_texts(
    prompt: PromptConfig, tasks: TasksConfig, records: Sequence[ClipRecord]
) -> list[str]:
    """Return the texts that a tokenizer sees in addition to the corpus's prompts and texts."""
    found = [prompt.system, prompt.context, prompt.question, prompt.suffix]
    if {"word_present", "reversed"} & tasks.shares.keys():
        found += [prompt.yes, prompt.no]
    if "reversed" in tasks.shares:
        found.append(prompt.reversed)
    words = _all_words(records)
    if "word_present" in tasks.shares:
        found += [prompt.word_present.format(word=word) for word in words]
    if "which_words" in tasks.shares:
        found += [prompt.which_words.format(words=", ".join(words))]
    return found


def words_of(clip: Clip) -> tuple[str, ...]:
    """Return the words that a clip signs, without case duplicates: keywords, or else glosses."""
    found: dict[str, str] = {}
    for word in clip.keywords or clip.gloss.split():
        found.setdefault(word.casefold(), word)
    return tuple(found.values())


def _all_words(records: Sequence[ClipRecord]) -> list[str]:
    """Return all words signed in these clips, without case duplicates, sorted."""
    found = {word.casefold(): word for record in records for word in words_of(record.clip)}
    return [found[key] for key in sorted(found)]


def _texts(clip: Clip, reference_choice: str) -> tuple[str, ...]:
    """Return the texts that a clip is trained on in one epoch."""
    if reference_choice == "each" and clip.texts:
        return clip.texts
    return (clip.texts[0] if clip.texts else "",)


def _wrong_pairs(texts: Sequence[str], seed: int) -> list[str]:
    """Return the texts in another order, in which no text keeps its place."""
    # Passing texts around one cycle through all clips leaves none in its place.
    order = generator(seed, "wrong pairs").permutation(len(texts))
    wrong = list(texts)
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        wrong[here] = texts[there]
    return wrong
