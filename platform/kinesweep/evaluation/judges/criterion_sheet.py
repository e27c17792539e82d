"""The questions and grades of one criterion of a judge, for all clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kinesweep.config.recipe.scores.judges import CriterionConfig, JudgeConfig
from kinesweep.evaluation.judges.grades import grade_choice
from kinesweep.evaluation.judges.protocol import JudgeAnswer, JudgeRequest
from kinesweep.evaluation.judges.questions import Question, build_questions
from kinesweep.evaluation.metrics.base import References, Texts


@dataclass(frozen=True)
class CriterionGrades:
    """The grades of clips by one criterion.

    Attributes:
        by_clip: Clip id → grade, for clips with a valid answer, in the order of sorted ids.
        unscored: Clips without a valid answer.
        counts: Name → number of clips, answers and requests, see `docs/judges.md`.
    """

    by_clip: dict[str, float]
    unscored: tuple[str, ...]
    counts: dict[str, int]


class CriterionSheet:
    """The questions of one criterion, for all clips.

    Args:
        config: Judge of a recipe.
        criterion: Criterion.
        hypotheses: Clip id → text.
        references: Clip id → reference sentences, for the same clips.
    """

    def __init__(
        self,
        config: JudgeConfig,
        criterion: CriterionConfig,
        hypotheses: Texts,
        references: References,
    ) -> None:
        self._config, self._criterion = config, criterion
        self._questions: dict[str, list[Question]] = {
            clip_id: build_questions(config, criterion, hypotheses[clip_id], references[clip_id])
            # A fixed order of requests, so that equal evaluations send equal sequences.
            for clip_id in sorted(hypotheses)
        }

    def list_requests(self) -> list[JudgeRequest]:
        """List the requests of all questions; equal texts have equal requests."""
        return [r for some in self._questions.values() for q in some for r in q.requests]

    def grade(self, answers: Mapping[str, JudgeAnswer]) -> CriterionGrades:
        """Grade all clips; the best grade of a clip's questions counts.

        Args:
            answers: Digest of a request → answer.
        """
        by_clip: dict[str, float] = {}
        num_invalid = 0
        for clip_id, questions in self._questions.items():
            if not questions:
                # A text without words meets no criterion; a judge is not asked to say so.
                by_clip[clip_id] = float(self._criterion.minimum)
            means = []
            for question in questions:
                grades = self._grade_question(question, answers)
                valid = [grade for grade in grades if grade is not None]
                num_invalid += len(grades) - len(valid)
                # Invalid answers are left out, since a grade of zero would be an opinion that
                # nobody gave.
                means += [sum(valid) / len(valid)] if valid else []
            if means:
                by_clip[clip_id] = max(means)
        unscored = tuple(clip_id for clip_id in self._questions if clip_id not in by_clip)
        counts = {
            "clips": len(by_clip),
            "unscored_clips": len(unscored),
            "invalid_answers": num_invalid,
            "empty_texts": sum(not questions for questions in self._questions.values()),
            **self._count_requests(answers),
        }
        return CriterionGrades(by_clip, unscored, counts)

    def _grade_question(
        self, question: Question, answers: Mapping[str, JudgeAnswer]
    ) -> Sequence[float | None]:
        """Return the grade of each answer to a question; None for invalid ones."""
        return [
            grade_choice(choice, self._criterion, self._config.scoring)
            for request in question.requests
            for choice in answers[request.digest].choices
        ]

    def _count_requests(self, answers: Mapping[str, JudgeAnswer]) -> dict[str, int]:
        """Return the numbers of distinct requests that were sent and that were replayed."""
        # Equal texts are asked about once, so requests are counted once too.
        digests = {request.digest for request in self.list_requests()}
        num_replayed = sum(answers[digest].is_replayed for digest in digests)
        return {"requests": len(digests) - num_replayed, "replayed": num_replayed}
