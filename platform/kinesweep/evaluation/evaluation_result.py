"""The result of an evaluation: scores, predictions, and answers to the questions of side tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kinesweep.core.html_table import format_html_table
from kinesweep.core.scores import format_score_value, name_task_accuracy, order_scores
from kinesweep.evaluation.predictions import Prediction
from kinesweep.evaluation.tasks.evaluate_tasks import TaskEvaluation
from kinesweep.evaluation.tokenization.coverage import TextCoverage


@dataclass(frozen=True)
class Evaluation:
    """The scores and predictions of a model, or of texts from another source, on a split.

    Attributes:
        scores: Metric → score. A model has `token_loss` (unsmoothed, nats per token) and
            `token_accuracy` (percent) besides the recipe's metrics.
        signatures: Metric → signature of its computation.
        predictions: Predictions in the order of sorted clip ids.
        truncation_counts: Truncation of feature streams that did not fit into the language
            model's positions: number of clips (`fit_clips.<stream>`) and of vectors removed
            (`fit_vectors.<stream>`).
        clip_scores: Metric → clip id → score, for neural and extra metrics whose score is the mean
            of the clips' scores, and for judges.
        counts: Metric → numbers of clips, answers and requests, for judges.
        coverage: Shares of the references that the model's tokenizer cannot write; None for texts
            from another source and during training.
        tasks: Side task → answers and scores; empty for texts from another source.
        is_retrieval: Whether the predictions are retrieved texts of the stage `align`.
    """

    scores: dict[str, float]
    signatures: dict[str, str]
    predictions: tuple[Prediction, ...]
    truncation_counts: dict[str, int] = field(default_factory=dict)
    clip_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    coverage: TextCoverage | None = None
    tasks: dict[str, TaskEvaluation] = field(default_factory=dict)
    is_retrieval: bool = False

    @property
    def hypotheses(self) -> dict[str, str]:
        """Return clip id → predicted sentence."""
        return {prediction.clip_id: prediction.hypothesis for prediction in self.predictions}

    def with_tasks(self, tasks: Mapping[str, TaskEvaluation]) -> "Evaluation":
        """Return the evaluation with side tasks, whose accuracies are among the scores."""
        names = {name_task_accuracy(task): each for task, each in tasks.items()}
        return replace(
            self,
            scores=self.scores | {name: each.scores.accuracy for name, each in names.items()},
            signatures=self.signatures | {name: each.signature for name, each in names.items()},
            clip_scores=self.clip_scores | {name: each.clip_scores for name, each in names.items()},
            tasks=dict(tasks),
        )

    def _repr_html_(self) -> str:
        """Return the scores and their signatures as HTML, which notebooks show."""
        # The objective comes first, as in all other output.
        names = order_scores(self.scores)
        rows = [
            (name, format_score_value(name, self.scores[name]), self.signatures.get(name, ""))
            for name in names
        ]
        return format_html_table(("metric", "score", "signature"), rows)
