"""Formatting of scores and costs for people: the objective first, each value in a suitable format.

All output that shows scores uses this module; files and `--json` keep the plain numbers.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from kinesweep.core.errors import TrainingError

GOLD_CONTEXT = "context:gold"
"""Signature part of scores whose context sentences were references instead of model output."""

_TASK_ACCURACY_SUFFIX = "_accuracy"
_SIDE_TASKS = ("word_present", "which_words", "reversed")
TASK_ACCURACIES = tuple(f"{task}{_TASK_ACCURACY_SUFFIX}" for task in _SIDE_TASKS)
"""Shares of right answers in the side tasks, in percent."""

COSTS = ("parameters", "decode_ms")
"""Costs of a model, where less is better; shown after the scores."""
RECALL_RANKS = (1, 5, 10)
"""Ranks k of the scores recall@k of a retrieval."""
ALIGNMENT_LOSSES = ("contrastive_loss", "restoration_loss", "sign_contrastive_loss")
"""Losses of an evaluation in the stage that aligns clips with texts."""
LOWER_IS_BETTER = frozenset(
    {"token_loss", "masked_loss", "median_rank", "ter", *ALIGNMENT_LOSSES, *COSTS}
)
"""Scores and costs that are better the lower they are."""
_DEFAULT_SCORE_ORDER = ("bleu", "chrf", "rouge", "cider")
"""Scores that are shown first if no objective is named."""
_LAST_SCORES = ("token_loss", "token_accuracy", *COSTS)
_FOUR_DECIMAL_SCORES = frozenset(
    {"token_loss", "masked_loss", "loss", "tau", "tau_frames", *ALIGNMENT_LOSSES}
)
"""Values shown with four decimals, because they range from 0 to a few units instead of 100."""
_SEPARATOR = " · "


def name_task_accuracy(task: str) -> str:
    """Return the name of the score of a side task: `word_present_accuracy`."""
    return f"{task}{_TASK_ACCURACY_SUFFIX}"


def is_lower_better(name: str) -> bool:
    """Return whether lower values of a score or cost of the platform itself are better."""
    return name in LOWER_IS_BETTER


def format_scores(scores: Mapping[str, float], objectives: Sequence[str] = ()) -> str:
    """Format scores in one line: `bleu 80.68 · 641 k parameters · 3.8 ms a clip`.

    Args:
        scores: Score name → value.
        objectives: Names of the scores that are shown first; see `order_scores`.
    """
    names = order_scores(scores, objectives)
    return _SEPARATOR.join(format_score(name, scores[name]) for name in names)


def format_score(name: str, value: float) -> str:
    """Format one score with its name or unit: `bleu 80.68`, `641 k parameters`, `3.8 ms a clip`."""
    text = format_score_value(name, value)
    if name == "parameters":
        return f"{text} parameters"
    return f"{text} a clip" if name == "decode_ms" else f"{name} {text}"


def format_score_value(name: str, value: float) -> str:
    """Format the value of a score without its name, for the cell of a table."""
    if name == "parameters":
        return _format_count(value)
    if name == "decode_ms":
        return f"{value:.1f} ms"
    if name == "token_accuracy" or name in TASK_ACCURACIES:
        return f"{value:.2f} %"
    return f"{value:.4f}" if name in _FOUR_DECIMAL_SCORES else f"{value:.2f}"


def order_scores(scores: Mapping[str, float], objectives: Sequence[str] = ()) -> list[str]:
    """Return the names of scores in the order in which they are shown.

    The objectives come first, then BLEU, chrF, ROUGE and CIDEr, then other scores in their given
    order, and finally token loss, token accuracy and costs.

    Args:
        scores: Score name → value.
        objectives: Names of the scores that are shown first; those without a value are left out.
    """
    first_names = [name for name in (*objectives, *_DEFAULT_SCORE_ORDER) if name in scores]
    last_names = [name for name in _LAST_SCORES if name in scores]
    other_names = [name for name in scores if name not in first_names and name not in last_names]
    # An objective that is a cost is shown first; `dict.fromkeys` drops its second occurrence.
    return list(dict.fromkeys([*first_names, *other_names, *last_names]))


def check_finite_scores(scores: Mapping[str, float], system: str) -> None:
    """Check that all scores of a model are finite numbers.

    Args:
        scores: Score name → value.
        system: Description of what was scored, for the message.

    Raises:
        TrainingError: If a score is not finite, which shows that the model diverged.
    """
    invalid_scores = [f"{name} is {value}" for name, value in scores.items() if not isfinite(value)]
    if invalid_scores:
        raise TrainingError(
            f"{system} diverged: {', '.join(invalid_scores)}. Train it with a lower"
            " `training.learning_rate`"
        )


def _format_count(count: float) -> str:
    """Format a count, from 1000 with three significant digits: `641 k`, `1.25 M`, `7.62 B`."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        # 999,950 must not round to `1000 k`, so each unit starts 0.05 % below its size.
        if count >= size * 0.9995:
            scaled = count / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{count:.0f}"
