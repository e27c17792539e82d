"""Parameter groups of the optimizer: learning rates of their own for parts of the model.

Hugging Face's Trainer makes two groups, with and without weight decay. Each is split by learning
rate, so all parts keep their weight decay. The schedule multiplies the learning rates of all groups
by the same factor. The groups with `training.learning_rate` stay first, because the Trainer logs
the learning rate of the first group.
"""

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from kinesweep.config.recipe.training import RatedPart
from kinesweep.core.errors import ConfigError
from kinesweep.models.translator import Translator

# Each part comes after those that contain it, so that the rate of the smallest one counts.
_PARTS_BY_SIZE: tuple[RatedPart, ...] = (
    "encoder",
    "backbone",
    "backbone_encoder",
    "backbone_decoder",
    "embeddings",
    "lm_head",
)


def split_parameter_groups(
    optimizer: Optimizer, model: Translator, learning_rates: Mapping[RatedPart, float]
) -> None:
    """Move parameters to groups with the learning rate of their part, in place.

    Does nothing if no part has a learning rate of its own, or if the groups have been split before.

    Args:
        optimizer: New optimizer without a state.
        model: Translator whose parameters it holds.
        learning_rates: Part → learning rate (`training.learning_rates`). The vision model has its
            own in its configuration.

    Raises:
        ConfigError: If training changes no weight of a part, or tied weights have two rates.
    """
    rates_by_id = _find_own_rates(model, learning_rates)
    for group in list(optimizer.param_groups):
        # A group with the schedule's `initial_lr` has been split before.
        if "initial_lr" in group:
            continue
        members: dict[float, list[Any]] = {}
        for parameter in group["params"]:
            # Parameters with the common rate stay in this group, which keeps its place.
            rate = rates_by_id.get(id(parameter), group["lr"])
            members.setdefault(rate, []).append(parameter)
        group["lr"] = group["lr"] if group["lr"] in members else next(iter(members), group["lr"])
        group["params"] = members.pop(group["lr"], [])
        for rate, parameters in members.items():
            optimizer.add_param_group({**group, "params": parameters, "lr": rate})


def _find_own_rates(
    model: Translator, learning_rates: Mapping[RatedPart, float]
) -> dict[int, float]:
    """Find the learning rate of each parameter that has one of its own, by the parameter's id.

    Args:
        model: Translator.
        learning_rates: Part → learning rate.

    Raises:
        ConfigError: If training changes no weight of a part, or tied weights have two rates.
    """
    rates_by_id: dict[int, float] = {}
    vision = model.vision
    if vision is not None and vision.config.learning_rate is not None:
        rates_by_id |= {id(p): vision.config.learning_rate for p in vision.parameters()}
    for part in (part for part in _PARTS_BY_SIZE if part in learning_rates):
        parameters = [p for p in model.get_freezable_part(part).parameters() if p.requires_grad]
        if not parameters:
            raise _build_error(part, "training changes no weight of this part; leave it out")
        rates_by_id |= {id(parameter): learning_rates[part] for parameter in parameters}
    _check_tied_embeddings(model, learning_rates)
    return rates_by_id


def _check_tied_embeddings(model: Translator, learning_rates: Mapping[RatedPart, float]) -> None:
    """Check that embeddings and head do not have two rates if they share their weights.

    Raises:
        ConfigError: If they do.
    """
    rates = {learning_rates[part] for part in ("embeddings", "lm_head") if part in learning_rates}
    if len(rates) < 2:
        return
    shared = {id(p) for p in model.get_freezable_part("embeddings").parameters()}
    if any(id(p) in shared for p in model.get_freezable_part("lm_head").parameters()):
        raise _build_error("lm_head", "it shares its weights with `embeddings`; give them one rate")


def _build_error(part: RatedPart, problem: str) -> ConfigError:
    """Build the error for a part whose learning rate cannot be used."""
    return ConfigError("the model", [(f"training.learning_rates.{part}", problem)])
