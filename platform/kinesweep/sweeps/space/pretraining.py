"""A search space whose recipe is one of pretraining: objectives, pruning metrics, what is left out.

Runs of pretraining are compared by scores that are means over validation clips, which a bootstrap
can resample. Baselines that write texts do not exist for them.
"""

from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objective_kinds import AnyObjective
from kinesweep.core.scores import RECALL_RANKS
from kinesweep.sweeps.space.space import SearchSpace

_COST = "parameters"


def list_objectives(objective: AnyObjective) -> list[str]:
    """List the scores by which runs of an objective can be ranked.

    Args:
        objective: The recipe's `objective` section.
    """
    if not isinstance(objective, ClipConfig):
        return ["masked_loss"]
    masked = [] if objective.mae is None else ["masked_loss"]
    return [*masked, *(f"recall_{k}" for k in RECALL_RANKS)]


def list_pruning_metrics(objective: AnyObjective) -> list[str]:
    """List the scores by which runs of an objective can be pruned.

    Args:
        objective: The recipe's `objective` section.
    """
    others = ["contrastive_loss", "median_rank"] if isinstance(objective, ClipConfig) else []
    return [*list_objectives(objective), *others]


def fill_in_pretraining(space: SearchSpace) -> SearchSpace:
    """Return the space with the defaults of a sweep over pretraining.

    The pruner compares the first objective, and there are no baselines, unless they are given.

    Args:
        space: Search space whose recipe is one of pretraining.
    """
    # The defaults of the schema are those of translation.
    updated: dict[str, object] = {}
    # Only unset keys: whoever names a metric gets that one, or an error below.
    if "metric" not in space.pruner.model_fields_set:
        metric = space.objectives[0].name
        updated["pruner"] = space.pruner.model_copy(update={"metric": metric})
    if "sanity_baselines" not in space.model_fields_set:
        updated["sanity_baselines"] = ()
    return space.model_copy(update=updated)


def find_pretraining_problems(space: SearchSpace, objective: AnyObjective) -> list[tuple[str, str]]:
    """Return (key, message) of each setting that does not suit a sweep over pretraining.

    Args:
        space: The search space.
        objective: The recipe's `objective` section.
    """
    problems = []
    allowed, pruning = list_objectives(objective), list_pruning_metrics(objective)
    for metric in space.objectives:
        if metric.name not in (*allowed, _COST):
            names = ", ".join(f"`{name}`" for name in (*allowed, _COST))
            text = f"`{metric.name}` is no score of this pretraining; use one of {names}"
            problems.append(("metric.name", text))
        elif metric.mode is not None and metric.mode != _get_mode(metric.name):
            text = f"`{metric.name}` requires mode `{_get_mode(metric.name)}`"
            problems.append(("metric.mode", text))
    if space.pruner.kind != "none" and space.pruner.metric not in pruning:
        names = ", ".join(f"`{name}`" for name in pruning)
        text = f"`{space.pruner.metric}` is not computed while pretraining; use one of {names}"
        problems.append(("pruner.metric", text))
    # An error instead of an empty list, because a setting must not be ignored.
    if space.sanity_baselines:
        text = "baselines write texts, which pretraining does not; set it to []"
        problems.append(("sanity_baselines", text))
    return problems


def _get_mode(name: str) -> str:
    """Return the direction of a score of pretraining."""
    return "max" if name.startswith("recall_") else "min"
