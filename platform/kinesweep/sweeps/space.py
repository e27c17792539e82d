"""A search space: the question, the recipe it is asked of, and the ranges of its parameters.

Every path is looked up in the recipe's schema and every range end and choice is tried against it
before the first trial, so that a misspelt parameter is never searched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from pydantic import Field, field_validator, model_validator

from kinesweep.core.config import Frozen, near_miss, put, read_yaml, validate
from kinesweep.core.errors import ConfigError
from kinesweep.core.hashing import flatten
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.training import ResourcesConfig

Plain = str | int | float | bool | None


class Parameter(Frozen):
    """What values a parameter may take; exactly one of the four kinds."""

    log: tuple[float, float] | None = Field(None, description="Range, searched on a log scale.")
    float_: tuple[float, float] | None = Field(None, alias="float", description="Range of numbers.")
    int_: tuple[int, int] | None = Field(None, alias="int", description="Range of whole numbers.")
    choices: tuple[Plain, ...] | None = Field(None, min_length=1, description="Listed values.")
    why: str = Field("", description="Why this range; for the report.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Parameter":
        given = [v for v in (self.log, self.float_, self.int_, self.choices) if v is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of `log`, `float`, `int`, `choices`")
        for low_high in (self.log, self.float_, self.int_):
            if low_high is not None and not low_high[0] < low_high[1]:
                raise ValueError(f"the range {list(low_high)} must rise")
        if self.log is not None and self.log[0] <= 0:
            raise ValueError(f"a log range must be above 0, but begins at {self.log[0]:g}")
        return self

    @property
    def edges(self) -> tuple[Plain, ...]:
        """Every value that the schema must allow: range ends, or all choices."""
        found: tuple[Plain, ...] | None = self.log or self.float_ or self.int_ or self.choices
        assert found is not None
        return found

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The same for Optuna."""
        if self.log is not None:
            return optuna.distributions.FloatDistribution(*self.log, log=True)
        if self.float_ is not None:
            return optuna.distributions.FloatDistribution(*self.float_)
        if self.int_ is not None:
            return optuna.distributions.IntDistribution(*self.int_)
        return optuna.distributions.CategoricalDistribution(self.choices or ())


class Metric(Frozen):
    """What a trial is judged by, once it is finished."""

    name: Literal["bleu", "chrf"] = Field("bleu", description="One of `evaluation.metrics`.")
    mode: Literal["max"] = Field("max", description="Higher is better.")


class Search(Frozen):
    """How configurations are proposed."""

    kind: Literal["tpe", "random"] = Field("tpe", description="Sampler.")
    trials: int = Field(ge=1, description="Configurations that are tried.")
    seed: int = Field(
        0, ge=0, description="Of the sampler and of every trial; never of the finals."
    )


class Scheduler(Frozen):
    """How hopeless trials are ended early, on unsmoothed token loss against samples seen."""

    kind: Literal["asha", "none"] = Field("asha", description="`asha` halves at rungs.")
    grace_evaluations: int = Field(2, ge=1, description="Evaluations before the first rung.")
    reduction: int = Field(3, ge=2, description="One in so many passes a rung.")


class Finalists(Frozen):
    """What is trained again, on several fresh seeds."""

    count: int = Field(3, ge=1, description="Best configurations of the search.")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=2, description="Seeds of the finals.")

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a seed twice")
        return value


class SearchSpace(Frozen):
    """A question, and how it is to be answered."""

    question: str = Field(min_length=1, description="In a sentence; also MLflow's experiment.")
    recipe: str = Field(description="The recipe, relative to this file.")
    metric: Metric = Field(Metric(), description="What decides.")
    search: Search = Field(description="How configurations are proposed.")
    scheduler: Scheduler = Field(Scheduler(), description="How trials are pruned.")
    finalists: Finalists = Field(Finalists(), description="What the finals hold.")
    baseline: bool = Field(True, description="Train the recipe as it stands on all final seeds.")
    sanity: tuple[Literal["constant", "nearest", "zeros", "shuffled"], ...] = Field(
        ("constant", "nearest"),
        description="Baselines that know nothing: best constant sentence, nearest neighbour,"
        " trained on zeros, trained on shuffled pairs.",
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What one run takes.")
    parameters: dict[str, Parameter] = Field(min_length=1, description="Dotted recipe key → range.")

    @model_validator(mode="after")
    def _search_seed_stays_out(self) -> "SearchSpace":
        if self.search.seed in self.finalists.seeds:
            raise ValueError(
                f"`search.seed` ({self.search.seed}) takes part in the finals; a score that"
                " selected is biased, so leave it out of `finalists.seeds`"
            )
        return self


def load_space(path: Path, overrides: Sequence[str], base: Path) -> tuple[SearchSpace, Recipe]:
    """Reads a space and its recipe, and checks each against the other.

    Args:
        path: the space's file.
        overrides: `key.sub=value`; those under `recipe.` are laid over the recipe.
        base: folder that the recipe's paths are relative to.

    Raises:
        ConfigError: with every problem.
    """
    own = [item for item in overrides if not item.startswith("recipe.")]
    for_recipe = [item.removeprefix("recipe.") for item in overrides if item.startswith("recipe.")]
    space = validate(SearchSpace, read_yaml(path, own), str(path))
    file = path.parent / space.recipe
    recipe = validate(Recipe, read_yaml(file, for_recipe), str(file))
    recipe = recipe.model_copy(update={"resources": space.resources}).resolved(base)
    problems = [
        (f"parameters.{name}", text)
        for name, parameter in space.parameters.items()
        for text in _problems(name, parameter, recipe)
    ]
    if space.metric.name not in recipe.evaluation.metrics:
        problems.append(("metric.name", f"`{space.metric.name}` is not in `evaluation.metrics`"))
    if problems:
        raise ConfigError(str(path), problems)
    return space, recipe


def apply(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with parameters set.

    Raises:
        ConfigError: a value is not allowed.
    """
    plain = recipe.model_dump(mode="json")
    for path, value in values.items():
        put(plain, path, value)
    return validate(Recipe, plain, f"trial of {recipe.name}")


def _problems(name: str, parameter: Parameter, recipe: Recipe) -> list[str]:
    """What is wrong with one parameter."""
    known = flatten(recipe.model_dump(mode="json"))
    scratch = name.startswith("model.backbone.scratch.")
    if name not in known and not scratch:
        return [f"is not a key of the recipe{near_miss(name, list(known))}"]
    if name.startswith(("source.", "features.", "store.", "resources.")) or name in _NOT_SWEPT:
        return ["cannot be searched: trials of one sweep share data, resources and seeds"]
    found = []
    for value in parameter.edges:
        try:
            apply(recipe, {name: value})
        except ConfigError as error:
            found += [f"{value!r}: {text}" for _, text in error.problems]
    return list(dict.fromkeys(found))


_NOT_SWEPT = frozenset({"name", "tracking", "training.seed", "batch.ablation"})
