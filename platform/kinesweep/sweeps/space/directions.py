"""Objectives and pruning metrics of a search space, checked against the metrics of its recipe.

The directions of the platform's own scores are known; those of extra metrics are in the recipe, and
are written into the space, which samplers and rankings read alone.
"""

from collections.abc import Mapping

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.metrics import TOKEN_METRICS
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.sweeps.space.space import ObjectiveConfig, PrunerConfig, SearchSpace


def find_metric_problems(
    space: SearchSpace, evaluation: EvaluationConfig, training: TrainingConfig = TrainingConfig()
) -> list[tuple[str, str]]:
    """Return (key, message) of each objective and pruning metric that does not suit the recipe.

    Runs of the search are scored by their evaluations during training, so a metric that only final
    results have cannot be an objective.

    Args:
        space: The search space.
        evaluation: Metrics of the recipe.
        training: Section `training` of the recipe; its stage `align` has scores of its own.
    """
    if training.stage == "align":
        return _find_alignment_problems(space, evaluation, training)
    problems: list[tuple[str, str]] = []
    for objective in space.objectives:
        if objective.name in TOKEN_METRICS:
            text = (
                f"`{objective.name}` is not a score of texts, so models cannot be ranked by it; use"
                " a metric of `evaluation`"
            )
            problems.append(("metric.name", text))
        elif not objective.is_cost and (
            reason := evaluation.explain_missing_metric(objective.name)
        ):
            problems.append(("metric.name", f"recipe: {reason}"))
        problems += _find_mode_problem("metric.mode", objective.name, objective.mode, evaluation)
    pruner = space.pruner
    if reason := evaluation.explain_missing_metric(pruner.metric):
        problems.append(("pruner.metric", f"recipe: {reason}"))
    return [*problems, *_find_mode_problem("pruner.mode", pruner.metric, pruner.mode, evaluation)]


def _find_alignment_problems(
    space: SearchSpace, evaluation: EvaluationConfig, training: TrainingConfig
) -> list[tuple[str, str]]:
    """Return (key, message) of each metric or baseline that the stage `align` does not have.

    Args:
        space: The search space.
        evaluation: Metrics of the recipe, for the directions.
        training: Section `training` of the recipe.
    """
    problems: list[tuple[str, str]] = []
    named = [("metric", "metric.name", metric.name, metric.mode) for metric in space.objectives]
    named.append(("pruner", "pruner.metric", space.pruner.metric, space.pruner.mode))
    for section, key, name, mode in named:
        # The size of a model is known in every stage, the time of its translations is not.
        if name != "parameters" and (reason := training.explain_missing_alignment_metric(name)):
            problems.append((key, f"recipe: {reason}"))
        problems += _find_mode_problem(f"{section}.mode", name, mode, evaluation)
    sentences = sorted(set(space.sanity_baselines) - {"zeros", "shuffled"})
    if sentences:
        text = (
            f"`{sentences[0]}` writes sentences, which `training.stage: align` does not score; use"
            " `zeros` and `shuffled`, or an empty list (evaluations report the level of chance)"
        )
        problems.append(("sanity_baselines", text))
    return problems


def set_directions(space: SearchSpace, evaluation: EvaluationConfig) -> SearchSpace:
    """Return the space with the directions of extra metrics, unless it states them.

    Args:
        space: The search space.
        evaluation: Metrics of the recipe.
    """
    # Only these, so that the space of a sweep that was started before is still the same.
    modes = {metric.score_name: metric.direction for metric in evaluation.extra_metrics}
    updated: dict[str, object] = {}
    if any(objective.name in modes for objective in space.objectives):
        objectives = tuple(_with_mode(objective, modes) for objective in space.objectives)
        updated["metric"] = objectives if isinstance(space.metric, tuple) else objectives[0]
    if space.pruner.metric in modes:
        updated["pruner"] = _with_pruner_mode(space.pruner, modes)
    return space.model_copy(update=updated)


def _find_mode_problem(
    key: str, name: str, mode: str | None, evaluation: EvaluationConfig
) -> list[tuple[str, str]]:
    """Return (key, message) if a stated direction is not that of the metric."""
    required_mode = "min" if evaluation.is_lower_better(name) else "max"
    if mode is None or mode == required_mode:
        return []
    return [(key, f"`{name}` requires mode `{required_mode}`")]


def _with_mode(objective: ObjectiveConfig, modes: Mapping[str, str]) -> ObjectiveConfig:
    """Return an objective with the direction of its extra metric, if it is one."""
    mode = modes.get(objective.name, objective.mode)
    return objective.model_copy(update={"mode": mode})


def _with_pruner_mode(pruner: PrunerConfig, modes: Mapping[str, str]) -> PrunerConfig:
    """Return pruner settings with the direction of their extra metric."""
    return pruner.model_copy(update={"mode": modes[pruner.metric]})
