"""What is asked of each training clip in each epoch, and what is right.

Most often: which text it is, and its first reference. A mixture of tasks asks at times whether a
word is signed, which words are, or whether the clip runs backwards; a clip with several references
may be trained on the first, on one at random, on each, or on that which the model finds likeliest
when it comes. All of it is a pure function of seed, epoch and clip. Words are compared without
case: a keyword "Hello" is in a clip that has "hello".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.recipe.prompt import PromptConfig, TasksConfig
from kinesweep.core.seeds import generator
from kinesweep.store.index import ClipRecord

_SHOWN, _MOST_RIGHT = 4, 2
"""Words in a question `which_words`, and how many of them are signed at the most."""


@dataclass(frozen=True)
class Example:
    """One question.

    Attributes:
        answer: what is right.
        question: instead of the recipe's own; None: what the text is.
        backwards: whether the frames are shown in reverse.
        others: further answers that are right, of which the closest is learnt.
    """

    answer: str
    question: str | None = None
    backwards: bool = False
    others: tuple[str, ...] = ()

    @classmethod
    def translation(cls, clip: Clip) -> "Example":
        """A clip's first text."""
        return cls(clip.texts[0] if clip.texts else "")


class Examples:
    """The examples of a split.

    Args:
        records: its clips.
        config: tasks, paraphrases, ablation.
        prompt: the words of questions and answers.
        seed: of everything that is drawn.

    Attributes:
        records: one an example; with `paraphrases: each` a clip stands there once for each text.

    Raises:
        InputError: a task needs words, and no clip has any.
    """

    def __init__(
        self, records: Sequence[ClipRecord], config: BatchConfig, prompt: PromptConfig, seed: int
    ) -> None:
        self._config, self._prompt, self._seed = config, prompt, seed
        # Answers to other questions stay right, and would show the clip's words.
        shuffled = config.ablation == "shuffled"
        self._shares = {"translation": 1.0} if shuffled else config.tasks.shares
        pairs = [
            (record, text) for record in records for text in _texts(record.clip, config.paraphrases)
        ]
        self.records = [record for record, _ in pairs]
        self._targets = [text for _, text in pairs]
        if shuffled:
            self._targets = _wrong_pairs(self._targets, seed)
        self._words = _all_words(self.records) if self._asks_for_words else []
        if self._asks_for_words and len(self._words) < _SHOWN:
            raise InputError(
                "`batch.tasks` asks for words, but the training clips name only"
                f" {len(self._words)} ({_SHOWN} are needed): they come from keywords or glosses of"
                " the corpus. Set `word_present` and `which_words` to 0."
            )

    @property
    def vary(self) -> bool:
        """Whether an example may differ between epochs."""
        return len(self._shares) > 1 or self._config.paraphrases == "random"

    def of(self, index: int, epoch: int) -> Example:
        """The example at a place in an epoch."""
        record = self.records[index]
        if not self.vary:
            return Example(self._targets[index], others=self._others_of(index))
        rng = generator(self._seed, "example", epoch, record.clip.id, self._targets[index])
        task = str(rng.choice(list(self._shares), p=list(self._shares.values())))
        if task == "reversed":
            backwards = bool(rng.integers(2))
            return Example(self._said(backwards), self._prompt.reversed, backwards)
        own = words_of(record.clip)
        if task != "translation" and own:
            return self._about_words(task, own, rng)
        return Example(self._translation(index, rng), others=self._others_of(index))

    def translations(self, index: int) -> list[Example]:
        """The examples at a place that ask for a text; what else is asked has short answers."""
        texts = self.records[index].clip.texts
        one = self._config.paraphrases != "random" or self._config.ablation == "shuffled"
        answers = [self._targets[index]] if one else texts or ("",)
        return [Example(answer, others=self._others_of(index)) for answer in answers]

    @property
    def _asks_for_words(self) -> bool:
        return bool({"word_present", "which_words"} & self._shares.keys())

    def _translation(self, index: int, rng: np.random.Generator) -> str:
        texts = self.records[index].clip.texts
        if self._config.paraphrases != "random" or self._config.ablation == "shuffled":
            return self._targets[index]
        return str(texts[rng.integers(len(texts))]) if texts else ""

    def _others_of(self, index: int) -> tuple[str, ...]:
        """The references beside a target; those of a wrong pair would be right."""
        closest = self._config.paraphrases == "closest" and self._config.ablation != "shuffled"
        return self.records[index].clip.texts[1:] if closest else ()

    def _about_words(self, task: str, own: Sequence[str], rng: np.random.Generator) -> Example:
        if task == "word_present":
            others = self._others(own, 1, rng)
            there = bool(rng.integers(2)) or not others
            word = str(rng.choice(own)) if there else others[0]
            return Example(self._said(there), self._prompt.word_present.format(word=word))
        right = list(rng.choice(own, min(len(own), _MOST_RIGHT), replace=False))
        shown = [*right, *self._others(own, _SHOWN - len(right), rng)]
        words = [str(shown[i]) for i in rng.permutation(len(shown))]
        answer = ", ".join(word for word in words if word in right)
        return Example(answer, self._prompt.which_words.format(words=", ".join(words)))

    def _others(self, own: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
        """Words that the clip does not have, each once."""
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
        return self._prompt.yes if yes else self._prompt.no


def words_spoken(
    prompt: PromptConfig, tasks: TasksConfig, records: Sequence[ClipRecord]
) -> list[str]:
    """What passes through a tokenizer beside a corpus's own prompts and texts."""
    found = [prompt.system, prompt.context, prompt.question, prompt.after]
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
    """The words that a clip signs, each once whatever its case: keywords, or else glosses."""
    found: dict[str, str] = {}
    for word in clip.keywords or clip.gloss.split():
        found.setdefault(word.casefold(), word)
    return tuple(found.values())


def _all_words(records: Sequence[ClipRecord]) -> list[str]:
    """Each word that some clip signs, once whatever its case, sorted."""
    found = {word.casefold(): word for record in records for word in words_of(record.clip)}
    return [found[key] for key in sorted(found)]


def _texts(clip: Clip, paraphrases: str) -> tuple[str, ...]:
    """The texts that a clip is trained on in one epoch."""
    if paraphrases == "each" and clip.texts:
        return clip.texts
    return (clip.texts[0] if clip.texts else "",)


def _wrong_pairs(texts: Sequence[str], seed: int) -> list[str]:
    """Each text at another clip's place."""
    order = generator(seed, "wrong pairs").permutation(len(texts))
    wrong = list(texts)
    for here, there in zip(order, [*order[1:], order[0]], strict=True):
        wrong[here] = texts[there]
    return wrong
