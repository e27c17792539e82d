"""A search space: the question, the recipe it is asked of, and how it is to be answered."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.scores import COSTS
from kinesweep.core.units import parse_bytes
from kinesweep.sweeps.parameter import SEED, Parameter

MINIMISED = frozenset(COSTS)
"""Objectives that are costs."""
LISTED = frozenset({"grid", "random", "qmc"})
"""Kinds of search whose configurations are a fixed list: neither results nor timing change it."""


class Metric(Frozen):
    """What a trial is judged by, once it is finished."""

    name: Literal["bleu", "chrf", "rouge", "cider", "decode_ms", "parameters"] = Field(
        "bleu",
        description="One of `evaluation.metrics`, `decode_ms` (milliseconds a sentence) or"
        " `parameters` (trained weights).",
    )
    mode: Literal["max", "min"] | None = Field(
        None, description="What is better; default: more of a score, less of a cost."
    )

    @model_validator(mode="after")
    def _known_direction(self) -> "Metric":
        if self.mode is not None and (self.mode == "min") != (self.name in MINIMISED):
            right = "min" if self.name in MINIMISED else "max"
            raise ValueError(f"`{self.name}` has mode `{right}`")
        return self

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.name in MINIMISED else 1


class Search(Frozen):
    """How configurations are proposed."""

    kind: Literal["tpe", "random", "grid", "qmc", "cmaes", "nsga2"] = Field(
        "tpe",
        description="`grid`, `random` and `qmc` (Sobol points) try a fixed list; `tpe`, `cmaes` and"
        " `nsga2` learn from the trials before.",
    )
    trials: int | None = Field(
        None, ge=1, description="Configurations that are tried; default for `grid`: all of them."
    )
    seed: int = Field(
        0, ge=0, description="Of the sampler and of every trial; never of the finals."
    )

    @model_validator(mode="after")
    def _counted(self) -> "Search":
        if self.trials is None and self.kind != "grid":
            raise ValueError(f"`{self.kind}` needs `trials`")
        return self


class Scheduler(Frozen):
    """How hopeless trials are ended early, judged at samples seen beyond each one's warm-up."""

    kind: Literal["asha", "hyperband", "median", "none"] = Field(
        "asha",
        description="`asha` halves at rungs; `hyperband`: ASHA in brackets that begin later and"
        " later; `median`: worse than half of the others.",
    )
    metric: Literal["token_loss", "bleu", "chrf", "rouge", "cider"] = Field(
        "token_loss", description="What is compared; early BLEU is near zero and tells little."
    )
    grace_evaluations: int = Field(2, ge=1, description="Evaluations before the first judgement.")
    reduction: int = Field(2, ge=2, description="One in so many passes a rung.")
    brackets: int = Field(3, ge=1, description="Of `hyperband`; each begins `reduction` later.")


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


class BudgetConfig(Frozen):
    """What a sweep may cost. The search ends early enough for the finals to fit."""

    hours: float | None = Field(None, gt=0, description="By the clock, pauses left out.")
    device_hours: float | None = Field(
        None, gt=0, description="Hours × GPUs of all runs together; without GPUs × workers."
    )
    disk: str | None = Field(None, description="What the sweep's run folders may take.")

    @field_validator("disk")
    @classmethod
    def _is_bytes(cls, value: str | None) -> str | None:
        if value is not None:
            parse_bytes(value)
        return value


class SearchSpace(Frozen):
    """A question, and how it is to be answered."""

    question: str = Field(min_length=1, description="In a sentence; also MLflow's experiment.")
    recipe: str = Field(description="The recipe, relative to this file.")
    metric: Metric | tuple[Metric, ...] = Field(
        Metric(), description="What decides; of several, the first one picks the winner."
    )
    search: Search = Field(Search(trials=8), description="How configurations are proposed.")
    scheduler: Scheduler = Field(Scheduler(), description="How trials are pruned.")
    finalists: Finalists = Field(Finalists(), description="What the finals hold.")
    budget: BudgetConfig = Field(BudgetConfig(), description="What the sweep may cost.")
    baseline: bool = Field(True, description="Train the recipe as it stands on all final seeds.")
    sanity: tuple[Literal["constant", "frequent", "nearest", "zeros", "shuffled"], ...] = Field(
        ("constant", "nearest"),
        description="Baselines that know nothing: best constant sentence (by BLEU), most"
        " frequent sentence of train, nearest neighbour, trained on zeros, trained on shuffled"
        " pairs.",
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What one run takes.")
    parameters: dict[str, Parameter] = Field(min_length=1, description="Dotted recipe key → range.")

    @property
    def objectives(self) -> tuple[Metric, ...]:
        """What is judged, the deciding one first."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)

    @property
    def searched(self) -> dict[str, Parameter]:
        """Parameters that the search varies."""
        varied = ("nuisance", "scientific")
        return {name: p for name, p in self.parameters.items() if p.role in varied}

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """Seeds of the finals: those of the noise parameter, if there is one."""
        noise = self.parameters.get(SEED)
        if noise is not None and noise.role == "noise":
            return tuple(int(str(seed)) for seed in noise.choices or ())
        return self.finalists.seeds

    @model_validator(mode="after")
    def _search_seed_stays_out(self) -> "SearchSpace":
        if self.searched and self.search.seed in self.final_seeds:
            raise ValueError(
                f"`search.seed` ({self.search.seed}) takes part in the finals; a score that"
                " selected is biased, so leave it out of their seeds"
            )
        return self

    @model_validator(mode="after")
    def _objectives_fit(self) -> "SearchSpace":
        names = [metric.name for metric in self.objectives]
        if not names or len(set(names)) < len(names):
            raise ValueError("`metric` needs objectives, each of them once")
        if self.objectives[0].sign < 0:
            raise ValueError(f"`metric` must begin with a score, not with `{names[0]}`")
        if len(names) > 1 and self.scheduler.kind != "none":
            raise ValueError("several objectives need `scheduler: {kind: none}`: pruning has one")
        if len(names) > 1 and self.search.kind == "cmaes":
            raise ValueError("`cmaes` has one objective; take `nsga2` or `tpe`")
        return self

    @model_validator(mode="after")
    def _kind_fits(self) -> "SearchSpace":
        for name, parameter in self.searched.items():
            if self.search.kind == "grid" and parameter.levels is None:
                raise ValueError(f"a grid needs `choices` or `int` for `{name}`")
            tuned = parameter.role == "nuisance"
            if self.search.kind == "cmaes" and tuned and (parameter.choices or parameter.when):
                raise ValueError(f"`cmaes` cannot search `{name}`: it has choices or a condition")
        return self
