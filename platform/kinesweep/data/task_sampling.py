"""Training examples: the question and the answer for each clip in each epoch.

Usually the question asks for the text and the answer is the first reference translation. With a
mixture of tasks, other questions ask whether a word is signed, which words are signed, or whether
the clip runs backwards. A clip with several references can be trained on the first, on a random
one, on each, or on the one with the lowest loss; augmented texts of a clip count as further
references here, in training alone. Everything is a pure function of seed, epoch and
clip. Words are compared case-insensitively: the keyword "Hello" matches "hello".
"""

from collections.abc import Sequence

import numpy as np

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptConfig, TasksConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import create_generator
from kinesweep.data.signed_words import collect_signed_words
from kinesweep.data.tasks.questions import NUM_CHOICES, WORD_TASKS, Example, QuestionBuilder
from kinesweep.store.format.index import ClipRecord


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
        self._config, self._seed = config, seed
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
        needs_words = bool(WORD_TASKS & self._shares.keys())
        words = collect_signed_words(self.records) if needs_words else []
        if needs_words and len(words) < NUM_CHOICES:
            raise InputError(
                "`batch.tasks` needs words, but the training clips have only"
                f" {len(words)} (at least {NUM_CHOICES} are needed). Words come from the"
                " keywords or glosses of the corpus. Set"
                " `word_present` and `which_words` to 0."
            )
        self._questions = QuestionBuilder(prompt, words)

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
        if task != "translation":
            example = self._questions.build(task, record.clip, rng)
            if example is not None:
                return example
        # For a clip without words, a task that needs words is replaced by translation.
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
