"""Evaluation of side tasks: the model answers questions about the clips of a split.

Answers are decoded like translations, in fixed batches over all ranks, but always the most probable
text is taken: restrictions of length and sampling concern translations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.config.recipe.prompt import SideTaskName, TaskEvaluationConfig
from kinesweep.core.collectives import get_rank_and_world_size
from kinesweep.core.scores import name_task_accuracy
from kinesweep.data.tasks.task_batches import (
    TaskData,
    TaskQuestions,
    build_task_batches,
    build_task_questions,
)
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.evaluation.tasks.answers import TaskAnswer, parse_answer
from kinesweep.evaluation.tasks.task_scores import TaskScores, compute_task_scores
from kinesweep.models.translator import Translator


@dataclass(frozen=True)
class TaskEvaluation:
    """The answers of a model in a side task, with their scores.

    Attributes:
        scores: Accuracy with its interval and further scores.
        answers: Answer to the question about each clip, in the order of sorted clip ids.
        seed: Random seed of the questions.
    """

    scores: TaskScores
    answers: tuple[TaskAnswer, ...]
    seed: int

    @property
    def signature(self) -> str:
        """Return how the accuracy was computed."""
        return f"task:{self.scores.task}|seed:{self.seed}|clips:{self.scores.clips}"

    @property
    def clip_scores(self) -> dict[str, float]:
        """Return clip id → 100 for a right answer, otherwise 0; their mean is the accuracy."""
        return {answer.clip_id: 100.0 * answer.is_correct for answer in self.answers}


class TaskSet:
    """The questions of side tasks about a split, planned once and asked in each evaluation.

    Args:
        tasks: Task → its scoring.
        data: Clips, tokenizer and settings.

    Raises:
        InputError: If the clips have too few words for a task, or none is within the limits.
        StoreError: If the store has no such split.
    """

    def __init__(self, tasks: Mapping[SideTaskName, TaskEvaluationConfig], data: TaskData) -> None:
        self._data, self._configs = data, dict(tasks)
        self._questions: dict[SideTaskName, TaskQuestions] = {
            task: build_task_questions(task, config, data) for task, config in tasks.items()
        }

    def evaluate(
        self,
        model: Translator,
        generation: GenerationConfig,
        num_beams: int,
        translations: Mapping[str, str],
    ) -> dict[str, TaskEvaluation]:
        """Ask a model all questions; a collective call with the same result on all ranks.

        Args:
            model: Translator; it is left in evaluation mode.
            generation: Generation settings, of which the number of tokens is used.
            num_beams: Number of beams.
            translations: Clip id → sentence of the model, which may be the context of a question.

        Returns:
            Task → answers and scores.

        Raises:
            InputError: If no clip with a translation can be asked about.
        """
        model.eval()
        # A minimum length would forbid the answer `yes`, and draws would make the accuracy random.
        search = GenerationConfig(num_beams=num_beams, max_new_tokens=generation.max_new_tokens)
        documents = {
            record.clip.id: record.clip.document
            for record in self._data.store.get_records(self._data.split)
        }
        return {
            task: self._evaluate_task(task, model, search, translations, documents)
            for task in self._questions
        }

    def _evaluate_task(
        self,
        task: SideTaskName,
        model: Translator,
        search: GenerationConfig,
        translations: Mapping[str, str],
        documents: Mapping[str, str],
    ) -> TaskEvaluation:
        """Ask the questions of one task and score the answers; a collective call."""
        data, questions = self._data, self._questions[task]
        batches = build_task_batches(questions, data, translations, *get_rank_and_world_size())
        texts = decode_batches(model, data.tokenizer, batches, search.num_beams, search)
        prompt = data.prompt_settings.prompt
        answers = []
        for clip_id, text in sorted(texts.items()):
            example = questions.examples[clip_id]
            parsed = parse_answer(text, example, prompt)
            answers.append(TaskAnswer(clip_id, example, text, parsed))
        scores = compute_task_scores(task, answers, documents, questions.num_without_words)
        return TaskEvaluation(scores, tuple(answers), self._configs[task].seed)


def collect_accuracies(tasks: Mapping[str, TaskEvaluation]) -> dict[str, float]:
    """Return the name of each task's score → its accuracy in percent."""
    return {name_task_accuracy(task): each.scores.accuracy for task, each in tasks.items()}
