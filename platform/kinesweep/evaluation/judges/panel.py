"""Scores of texts by a judge: requests for all clips and criteria, grades, and counts of both.

All criteria of a judge are asked together, so that the number of requests is known, shown and
compared with the limit before the first one is sent. A clip without a valid answer has no score: it
is left out of the mean and counted, and too many such clips are an error.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from kinesweep.config.recipe.scores.judges import ChatServiceConfig, JudgeConfig
from kinesweep.core.errors import JudgeError
from kinesweep.evaluation.judges.chat_service import ChatServiceJudge
from kinesweep.evaluation.judges.criteria import compute_prompt_digest, get_criterion
from kinesweep.evaluation.judges.criterion_sheet import CriterionGrades, CriterionSheet
from kinesweep.evaluation.judges.protocol import Judge, JudgeAnswer, JudgeRequest
from kinesweep.evaluation.judges.questions import count_requests
from kinesweep.evaluation.judges.recording import ReplayJudge
from kinesweep.evaluation.metrics.base import MetricResult, References, Texts, check_same_clips

logger = logging.getLogger(__name__)


def build_judge(config: JudgeConfig) -> Judge:
    """Build the judge that a recipe names.

    Raises:
        JudgeError: If a recording cannot be read.
    """
    service = config.service
    if isinstance(service, ChatServiceConfig):
        return ChatServiceJudge(service)
    return ReplayJudge(Path(service.recording))


class JudgePanel:
    """A judge with its criteria.

    Args:
        config: Judge of a recipe.
        judge: Source of answers; None: the one that the recipe names.
    """

    def __init__(self, config: JudgeConfig, judge: Judge | None = None) -> None:
        self.config = config
        self._judge = judge or build_judge(config)
        self._criteria = dict(
            zip(config.score_names, map(get_criterion, config.criteria), strict=True)
        )

    def compute(
        self, hypotheses: Texts, references: References, names: Sequence[str] | None = None
    ) -> dict[str, MetricResult]:
        """Grade texts.

        Args:
            hypotheses: Clip id → text.
            references: Clip id → reference sentences, for the same clips.
            names: Names of scores; None: all.

        Returns:
            Name of the score → mean grade, grades of the clips and counts.

        Raises:
            InputError: If there are no clips or the ids differ.
            JudgeError: If there are more requests than allowed, a request cannot be answered, or
                too many clips have no valid answer.
        """
        check_same_clips(hypotheses, references)
        sheets = {
            name: CriterionSheet(self.config, self._criteria[name], hypotheses, references)
            for name in names or self._criteria
        }
        # Equal texts are asked about once.
        requests = {r.digest: r for sheet in sheets.values() for r in sheet.list_requests()}
        answers = self._answer(requests)
        return {name: self._build_result(name, s.grade(answers)) for name, s in sheets.items()}

    def format_signature(self, name: str) -> str:
        """Format the model, the prompt and the sampling settings of a score."""
        config, criterion = self.config, self._criteria[name]
        settings = [
            f"model:{config.model}",
            f"prompt:{compute_prompt_digest(criterion)}",
            f"scale:{criterion.minimum}-{criterion.maximum}",
            f"scoring:{config.scoring}",
            f"samples:{config.samples}",
            f"temperature:{'server' if config.temperature is None else f'{config.temperature:g}'}",
        ]
        if criterion.reads_reference:
            settings.append(f"references:{config.references}")
        # Judges read texts as they are, whatever the protocol of the other metrics.
        return f"protocol:raw|{name}|{'|'.join(settings)}"

    def count_requests(self, num_references: Sequence[int]) -> int:
        """Return the largest number of requests for clips with these numbers of references."""
        return sum(
            count_requests(self.config, criterion, count)
            for criterion in self._criteria.values()
            for count in num_references
        )

    def _answer(self, requests: Mapping[str, JudgeRequest]) -> dict[str, JudgeAnswer]:
        """Return digest → answer, after the number of requests was shown and checked.

        Raises:
            JudgeError: If there are more requests than allowed, or one cannot be answered.
        """
        config = self.config
        # Compared with the limit before the first request, so that no money is spent on half a
        # score.
        num_unanswered = self._judge.count_unanswered(list(requests.values()))
        if num_unanswered > config.max_requests:
            raise JudgeError(
                f"the judge `{config.label}` needs {num_unanswered} requests to `{config.model}`,"
                f" but `max_requests` in `evaluation.judges` is {config.max_requests}; raise it if"
                " the expense is acceptable, or score fewer clips"
            )
        num_recorded = len(requests) - num_unanswered
        logger.info(
            f"judge       {config.label}: {num_unanswered} requests to {config.model},"
            f" {num_recorded} answers recorded before"
        )
        answers = self._judge.answer(list(requests.values()))
        if config.scoring == "probabilities":
            self._check_probabilities(answers)
        tokens: Counter[str] = Counter()
        for answer in answers:
            # Recorded answers were paid for earlier.
            tokens.update({} if answer.is_replayed else answer.num_tokens)
        if tokens:
            logger.info(
                f"judge       {config.label}: {tokens['prompt_tokens']} tokens of prompts,"
                f" {tokens['completion_tokens']} of answers"
            )
        return dict(zip(requests, answers, strict=True))

    def _check_probabilities(self, answers: Sequence[JudgeAnswer]) -> None:
        """Check that the judge returns probabilities at all.

        Raises:
            JudgeError: If it does not.
        """
        if answers and not any(choice.tokens for answer in answers for choice in answer.choices):
            raise JudgeError(
                f"the judge `{self.config.label}` returned no probabilities of tokens"
                " (`logprobs`); set `scoring: answers` with `samples: 20` and `temperature: 1.0`"
            )

    def _build_result(self, name: str, grades: CriterionGrades) -> MetricResult:
        """Build the result of one criterion.

        Raises:
            JudgeError: If too many clips have no valid answer.
        """
        criterion = self._criteria[name]
        self._check_unscored(name, grades)
        # Grades of 0 and 1 are a share, which other scores give in percent.
        scale = 100.0 if (criterion.minimum, criterion.maximum) == (0, 1) else 1.0
        clip_scores = {clip_id: scale * grade for clip_id, grade in grades.by_clip.items()}
        value = sum(clip_scores.values()) / len(clip_scores)
        signature = self.format_signature(name)
        return MetricResult(value, signature, clip_scores, counts=grades.counts)

    def _check_unscored(self, name: str, grades: CriterionGrades) -> None:
        """Warn about clips without a valid answer.

        Raises:
            JudgeError: If there are too many.
        """
        unscored, num_clips = grades.unscored, len(grades.unscored) + len(grades.by_clip)
        if not unscored:
            return
        share = len(unscored) / num_clips
        text = (
            f"`{name}`: {len(unscored)} of {num_clips} clips have no valid answer of"
            f" `{self.config.model}`, the first is `{unscored[0]}`"
        )
        # A mean over few clips would look like a score of all.
        if share > self.config.max_invalid_share:
            raise JudgeError(
                f"{text}; more than `max_invalid_share` ({self.config.max_invalid_share:g}) in"
                " `evaluation.judges`. Raise `max_tokens` if answers are cut, or use another model"
            )
        logger.warning(f"{text}; they are left out of the mean")
