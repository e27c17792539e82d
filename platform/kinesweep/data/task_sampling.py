"""Training examples: the question and the answer for each clip in each epoch.

Usually the question asks for the text and the answer is the first reference translation. With a
mixture of tasks, other questions ask whether a word is signed, which words are signed, or whether
the clip runs backwards. A clip with several references can be trained on the first, on a random
one, on each, or on the one with the lowest loss; augmented texts of a clip count as further
references here, in training alone. Everything is a pure function of seed, epoch and
clip. Words are compared case-insensitively: the keyword "Hello" matches "hello".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptConfig, TasksConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator
from kinesweep.data.signed_words import collect_signed_words, get_signed_words
from kinesweep.store.format.index import ClipRecord

# Number of words in a `which_words` question, and maximum number of them that are signed.
_NUM_CHOICES, _MAX_CORRECT = 4, 2


@dataclass(frozen=True)
class Example:
    """A question with its answer.

    Attributes:
        answer: Correct answer.
        question: Question that replaces the recipe's own; None for translation.
        is_reversed: Whether the frames are fed to the model in reversed order.
        other_answers: Further correct answers; the one with the lowest loss is learned.
    """

    answer: str
    question: str | None = None
    is_reversed: bool = False
    other_answers: tuple[str, ...] = ()

    @classmethod
    def from_clip(cls, clip: Clip) -> "Example":
        """Create the translation example of a clip; its answer is the first reference.

        The answer is empty for a clip without references.
        """
        return cls(clip.texts[0] if clip.texts else "")


class ExampleSampler:
    """A sampler of training examples, which are addressed by index and epoch.

    Args:
        records: Clips of the split.
        config: Tasks, choice of references, and ablation.
        prompt: Texts of questions and answers.
        seed: Random seed for tasks, references, words and the ablation.

    Attributes:
        records: Clip of each example. With `reference_choice: each` a clip occurs once per
            reference.

    Raises:
        InputError: If a task needs words and the clips have fewer than four different ones.
    """

    def __init__(
        self, records: Sequence[ClipRecord], config: BatchConfig, prompt: PromptConfig, seed: int
    ) -> None:
        self._config, self._prompt, self._seed = config, prompt, seed
        # Answers to other questions would remain correct and reveal the words of the clip.
        shuffled = config.ablation == "shuffled"
        self._shares = {"translation": 1.0} if shuffled else config.tasks.sampling_probabilities
        records_and_targets = [
            (record, target)
            for record in records
            for target in _get_target_texts(record.clip, config, seed)
        ]
        self.records = [record for record, _ in records_and_targets]
        self._targets = [target for _, target in records_and_targets]
        if shuffled:
            self._targets = _shuffle_targets(self._targets, seed)
            if config.reference_choice == "each":
                self._targets = _separate_from_clips(self.records, self._targets)
        self._words = collect_signed_words(self.records) if self._needs_words else []
        # A word has one form in all questions: its case must not reveal whether it is signed.
        self._word_forms = {word.casefold(): word for word in self._words}
        if self._needs_words and len(self._words) < _NUM_CHOICES:
            raise InputError(
                "`batch.tasks` needs words, but the training clips have only"
                f" {len(self._words)} (at least {_NUM_CHOICES} are needed). Words come from the"
                " keywords or glosses of the corpus. Set"
                " `word_present` and `which_words` to 0."
            )

    @property
    def varies_by_epoch(self) -> bool:
        """Return whether the example at an index can differ between epochs."""
        # With the ablation `shuffled`, targets are fixed and no reference is drawn.
        draws_reference = (
            self._config.reference_choice == "random" and self._config.ablation != "shuffled"
        )
        return len(self._shares) > 1 or draws_reference

    def get_example(self, index: int, epoch: int) -> Example:
        """Return the example at an index of `records` in an epoch.

        If there are several tasks, one is drawn by its sampling probability.
        """
        record = self.records[index]
        if not self.varies_by_epoch:
            return Example(self._targets[index], other_answers=self._get_other_references(index))
        # The target is part of the key: with `each`, examples of one clip draw independently.
        rng = create_generator(self._seed, "example", epoch, record.clip.id, self._targets[index])
        task = str(rng.choice(list(self._shares), p=list(self._shares.values())))
        if task == "reversed":
            is_reversed = bool(rng.integers(2))
            return Example(self._format_yes_no(is_reversed), self._prompt.reversed, is_reversed)
        signed_words = [
            self._word_forms.get(word.casefold(), word) for word in get_signed_words(record.clip)
        ]
        # For a clip without words, a task that needs words is replaced by translation.
        if task != "translation" and signed_words:
            return self._build_word_example(task, signed_words, rng)
        return Example(
            self._choose_target(index, rng), other_answers=self._get_other_references(index)
        )

    def get_translations(self, index: int) -> list[Example]:
        """Return all translation examples that any epoch may have at an index of `records`.

        There is one for each reference that may be drawn. Other tasks are left out, because their
        answers are short.
        """
        texts = self.records[index].clip.training_texts
        has_fixed_target = (
            self._config.reference_choice != "random" or self._config.ablation == "shuffled"
        )
        # A clip without texts still has a prompt, hence the empty answer.
        answers = [self._targets[index]] if has_fixed_target else texts or ("",)
        return [
            Example(answer, other_answers=self._get_other_references(index)) for answer in answers
        ]

    @property
    def _needs_words(self) -> bool:
        """Return whether one of the tasks asks about words of the clip."""
        return bool({"word_present", "which_words"} & self._shares.keys())

    def _choose_target(self, index: int, rng: np.random.Generator) -> str:
        """Choose the target text of the translation example at an index of `records`.

        With `reference_choice: random` it is a random reference or augmented text, or empty if
        there is none. Otherwise, and with the ablation `shuffled`, it is fixed.
        """
        texts = self.records[index].clip.training_texts
        if self._config.reference_choice != "random" or self._config.ablation == "shuffled":
            return self._targets[index]
        return str(texts[rng.integers(len(texts))]) if texts else ""

    def _get_other_references(self, index: int) -> tuple[str, ...]:
        """Return the references after the first one if `reference_choice` is `min_loss`.

        Otherwise, and with the ablation `shuffled`, the result is empty.
        """
        # The clip's own references would be correct answers, which the ablation must not show.
        uses_min_loss = (
            self._config.reference_choice == "min_loss" and self._config.ablation != "shuffled"
        )
        return self.records[index].clip.training_texts[1:] if uses_min_loss else ()

    def _build_word_example(
        self, task: str, signed_words: Sequence[str], rng: np.random.Generator
    ) -> Example:
        """Build an example of the task `word_present` or `which_words` from the words of a clip."""
        if task == "word_present":
            other_words = self._draw_other_words(signed_words, 1, rng)
            # The answer is yes in half of the cases, and always if no other word exists.
            is_present = bool(rng.integers(2)) or not other_words
            word = str(rng.choice(signed_words)) if is_present else other_words[0]
            return Example(
                self._format_yes_no(is_present), self._prompt.word_present.format(word=word)
            )
        correct_words = list(
            rng.choice(signed_words, min(len(signed_words), _MAX_CORRECT), replace=False)
        )
        choices = [
            *correct_words,
            *self._draw_other_words(signed_words, _NUM_CHOICES - len(correct_words), rng),
        ]
        shuffled = [str(choices[i]) for i in rng.permutation(len(choices))]
        answer = ", ".join(word for word in shuffled if word in correct_words)
        return Example(answer, self._prompt.which_words.format(words=", ".join(shuffled)))

    def _draw_other_words(
        self, signed_words: Sequence[str], num_words: int, rng: np.random.Generator
    ) -> list[str]:
        """Draw up to `num_words` different words of other clips that are not in `signed_words`."""
        other_words: list[str] = []
        excluded = {word.casefold() for word in signed_words}
        for index in rng.permutation(len(self._words)):
            word = self._words[index]
            if word.casefold() not in excluded:
                other_words.append(word)
                if len(other_words) == num_words:
                    break
        return other_words

    def _format_yes_no(self, is_yes: bool) -> str:
        """Return the text of the answer yes or no that the prompt config defines."""
        return self._prompt.yes if is_yes else self._prompt.no


def collect_prompt_texts(
    prompt: PromptConfig, tasks: TasksConfig, records: Sequence[ClipRecord]
) -> list[str]:
    """Collect the texts that a tokenizer must cover besides the texts and prompts of the corpus.

    Args:
        prompt: Prompt config, which defines the texts around the frames and of the tasks.
        tasks: Sampling weights of the tasks; texts of tasks that are not used are left out.
        records: Clips whose words occur in questions.
    """
    texts = [prompt.system, prompt.context, prompt.question, prompt.suffix]
    if {"word_present", "reversed"} & tasks.sampling_probabilities.keys():
        texts += [prompt.yes, prompt.no]
    if "reversed" in tasks.sampling_probabilities:
        texts.append(prompt.reversed)
    words = collect_signed_words(records)
    if "word_present" in tasks.sampling_probabilities:
        texts += [prompt.word_present.format(word=word) for word in words]
    if "which_words" in tasks.sampling_probabilities:
        texts += [prompt.which_words.format(words=", ".join(words))]
    return texts


def _get_target_texts(clip: Clip, config: BatchConfig, seed: int) -> tuple[str, ...]:
    """Return the target texts of a clip, one for each of its examples in an epoch.

    They are all texts with `reference_choice: each`, or some that are drawn by the seed, else the
    first reference; empty for a clip without any.
    """
    texts, limit = clip.training_texts, config.references_per_clip
    if config.reference_choice != "each" or not texts:
        return (clip.texts[0] if clip.texts else "",)
    if limit is None or limit >= len(texts):
        return texts
    # Drawn once, like CoachMe's loss `Mix`, so the length of an epoch is fixed.
    rng = create_generator(seed, "references", clip.id)
    return tuple(texts[index] for index in sorted(rng.permutation(len(texts))[:limit]))


def _shuffle_targets(texts: Sequence[str], seed: int) -> list[str]:
    """Shuffle texts so that no text keeps its position, unless there is only one."""
    # Passing texts around one cycle through all positions leaves none at its position.
    cycle = create_generator(seed, "wrong pairs").permutation(len(texts))
    shuffled = list(texts)
    for position, source in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        shuffled[position] = texts[source]
    return shuffled


def _separate_from_clips(records: Sequence[ClipRecord], targets: Sequence[str]) -> list[str]:
    """Exchange targets so that no clip has one of its own references.

    A clip with several references has several positions, so a text that changes its position can
    stay with its clip. A target stays if it is right for every other clip too.

    Args:
        records: Clip of each position.
        targets: Target at each position, already shuffled.
    """
    separated = list(targets)
    for position, record in enumerate(records):
        if separated[position] not in record.clip.training_texts:
            continue
        # From the next position on, so that neighbors exchange and most targets stay.
        for step in range(1, len(records)):
            other = (position + step) % len(records)
            fits_here = separated[other] not in record.clip.training_texts
            if fits_here and separated[position] not in records[other].clip.training_texts:
                separated[position], separated[other] = separated[other], separated[position]
                break
    return separated
