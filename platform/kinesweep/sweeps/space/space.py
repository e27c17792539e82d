"""The schema of a search space: question, recipe, parameters and the settings of a sweep."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import KindOrPart, SamplerPart
from kinesweep.config.recipe.resources import ResourcesConfig
from kinesweep.config.validation_problems import SECRET_VALUE
from kinesweep.core.scores import COSTS, is_lower_better
from kinesweep.core.units import parse_bytes
from kinesweep.sweeps.space.parameter import SEED, SearchParameter, Values
from kinesweep.sweeps.study.storage import check_study_url

FIXED_DESIGN_KINDS = frozenset({"grid", "random", "qmc"})
"""Kinds of search with a fixed list of configurations, independent of results and timing."""


class ObjectiveConfig(StrictConfig):
    """An objective by which finished trials are compared."""

    name: str = Field(
        "bleu",
        min_length=1,
        description="One of `evaluation.metrics`, a neural or extra metric of the recipe that is"
        " computed during training, `decode_ms` (milliseconds per sentence) or `parameters` (number"
        " of trained weights).",
        examples=["bleu", "chrf", "rouge", "cider", "decode_ms", "parameters"],
    )
    mode: Literal["max", "min"] | None = Field(
        None,
        description="Direction; none: that of the metric, which a given one must agree with. Error"
        " rates and costs are minimized, other scores maximized; that of an extra metric is in the"
        " recipe.",
    )

    @property
    def is_cost(self) -> bool:
        """Return whether the objective is a cost of the model instead of a score of its texts."""
        return self.name in COSTS

    @property
    def direction_sign(self) -> int:
        """Return 1 if higher values are better, else -1."""
        minimizes = is_lower_better(self.name) if self.mode is None else self.mode == "min"
        return -1 if minimizes else 1


class SearchConfig(StrictConfig):
    """Settings of the sampler."""

    kind: Literal["tpe", "random", "grid", "qmc", "cmaes", "nsga2"] = Field(
        "tpe",
        description="Sampler. `grid`, `random` and `qmc` (Sobol points) try a fixed list; `tpe`,"
        " `cmaes` and `nsga2` learn from earlier trials.",
    )
    trials: int | None = Field(
        None, ge=1, description="Number of configurations to try; by default `grid` tries all."
    )
    seed: int = Field(
        0, ge=0, description="Seed of the sampler and of all trials; must not be a final seed."
    )

    @model_validator(mode="after")
    def _check_trials(self) -> "SearchConfig":
        """Check that `trials` is given, unless the search is a grid, which needs none."""
        if self.trials is None and self.kind != "grid":
            raise ValueError(f"`{self.kind}` needs `trials`")
        return self


AnySearch = Annotated[SearchConfig | SamplerPart, KindOrPart("tpe")]


class PrunerConfig(StrictConfig):
    """Settings of the pruner, which compares trials at samples seen beyond their own warm-up."""

    kind: Literal["asha", "hyperband", "median", "none"] = Field(
        "asha",
        description="Pruner. `asha`: asynchronous successive halving; `hyperband`: ASHA in brackets"
        " that start later and later; `median`: stops trials that are worse than the median of the"
        " others; `none`: no pruning.",
    )
    metric: str = Field(
        "token_loss",
        min_length=1,
        description="Metric to compare, one that is computed during training. Early BLEU is near"
        " zero and uninformative.",
        examples=["token_loss", "bleu", "chrf", "rouge", "cider"],
    )
    mode: Literal["max", "min"] | None = Field(
        None,
        description="Direction of the metric; none: that of the metric, as for objectives.",
    )
    grace_period: int = Field(
        2, ge=1, description="Number of evaluations before the first pruning decision."
    )
    reduction_factor: int = Field(
        2, ge=2, description="Reduction factor: one in this many trials passes each rung."
    )
    brackets: int = Field(
        3, ge=1, description="Brackets of `hyperband`; each starts `reduction_factor` times later."
    )

    @property
    def direction_sign(self) -> int:
        """Return 1 if higher values of the metric are better, else -1."""
        minimizes = is_lower_better(self.metric) if self.mode is None else self.mode == "min"
        return -1 if minimizes else 1


class FinalsConfig(StrictConfig):
    """Settings of the finals, which retrain configurations on several new seeds."""

    count: int = Field(3, ge=1, description="Number of best trials that take part.")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=2, description="Seeds of every finalist.")

    @field_validator("seeds")
    @classmethod
    def _check_seeds_unique(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """Check that no seed is listed twice."""
        if len(set(value)) != len(value):
            raise ValueError("lists a seed twice")
        return value


class BudgetConfig(StrictConfig):
    """Limits of a sweep. The search ends early enough to leave room for the finals."""

    hours: float | None = Field(
        None, gt=0, description="Wall-clock hours; pauses between sessions do not count."
    )
    device_hours: float | None = Field(
        None, gt=0, description="Hours × GPUs of all runs together; without GPUs, hours × workers."
    )
    disk: str | None = Field(None, description="Maximum size of the sweep's run folders.")

    @field_validator("disk")
    @classmethod
    def _check_disk_limit(cls, value: str | None) -> str | None:
        """Check that the disk limit can be parsed as a number of bytes."""
        if value is not None:
            parse_bytes(value)
        return value


class SearchSpace(StrictConfig):
    """A search space: a question about a recipe, and the settings of the sweep that answers it."""

    question: str = Field(
        min_length=1,
        description="Question in one sentence; also the name of MLflow's experiment and W&B's"
        " project.",
    )
    recipe: str = Field(description="Path of the recipe, relative to this file.")
    metric: ObjectiveConfig | tuple[ObjectiveConfig, ...] = Field(
        ObjectiveConfig(),
        description="Objective or list of objectives; the first one picks the winner.",
    )
    search: AnySearch = Field(SearchConfig(trials=8), description="Settings of the sampler.")
    pruner: PrunerConfig = Field(PrunerConfig(), description="Settings of the pruner.")
    finalists: FinalsConfig = Field(FinalsConfig(), description="Settings of the finals.")
    budget: BudgetConfig = Field(BudgetConfig(), description="Limits of the sweep.")
    baseline: bool = Field(True, description="Train the unmodified recipe on all final seeds.")
    sanity_baselines: tuple[
        Literal["constant", "frequent", "nearest", "zeros", "shuffled"], ...
    ] = Field(
        ("constant", "nearest"),
        description="Baselines without knowledge of the input. `constant`: best constant sentence"
        " (by BLEU); `frequent`: most frequent training sentence; `nearest`: nearest neighbor;"
        " `zeros`, `shuffled`: models trained on zeros or on shuffled pairs.",
    )
    resources: ResourcesConfig = Field(ResourcesConfig(), description="Resources of one run.")
    parameters: dict[str, SearchParameter] = Field(
        min_length=1, description="Dotted recipe key → parameter."
    )

    study_storage: str | None = Field(
        None,
        description="Database of the Optuna study, `postgresql://USER@HOST/DATABASE` without a"
        " password (`~/.pgpass`, `$PGPASSWORD`) or `sqlite:///FILE`; none: the file"
        " `optuna.journal` in the sweep's folder. It may change when a sweep is resumed.",
        examples=["postgresql://me@db.lab/studies", "sqlite:////data/studies.db"],
    )

    @field_validator("study_storage")
    @classmethod
    def _check_study_storage(cls, value: str | None) -> str | None:
        """Check that the address is valid and contains no password."""
        try:
            return None if value is None else check_study_url(value)
        except ValueError as error:
            raise PydanticCustomError(SECRET_VALUE, "{reason}", {"reason": str(error)}) from None

    @property
    def objectives(self) -> tuple[ObjectiveConfig, ...]:
        """Return all objectives; the first one, which is never a cost, decides the ranking."""
        return self.metric if isinstance(self.metric, tuple) else (self.metric,)

    @property
    def searched_parameters(self) -> dict[str, SearchParameter]:
        """Return the parameters that the search varies: nuisance and scientific ones."""
        searched_roles = ("nuisance", "scientific")
        return {name: p for name, p in self.parameters.items() if p.role in searched_roles}

    @property
    def fixed_values(self) -> Values:
        """Return name → value of the fixed parameters, which override the recipe in every run."""
        return {n: p.bounds_or_choices[0] for n, p in self.parameters.items() if p.role == "fixed"}

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """Return the seeds of the finals: those of the noise parameter if there is one."""
        noise = self.parameters.get(SEED)
        if noise is not None and noise.role == "noise":
            return tuple(int(str(seed)) for seed in noise.choices or ())
        return self.finalists.seeds

    @model_validator(mode="after")
    def _check_search_seed(self) -> "SearchSpace":
        """Check that the finals do not use the seed of the search, if there is a search."""
        if self.searched_parameters and self.search.seed in self.final_seeds:
            # Selection by one seed's scores favors configurations that were lucky on this seed.
            raise ValueError(
                f"`search.seed` ({self.search.seed}) is also a seed of the finals; scores that were"
                " used for selection are biased, so remove it from the seeds of the finals"
            )
        return self

    @model_validator(mode="after")
    def _check_objectives(self) -> "SearchSpace":
        """Check that objectives differ, begin with a score, and suit the pruner and the sampler."""
        names = [metric.name for metric in self.objectives]
        if not names or len(set(names)) < len(names):
            raise ValueError("`metric` must list at least one objective, and each only once")
        if self.objectives[0].is_cost:
            # The first objective picks the winner, and a cost would pick the cheapest model.
            raise ValueError(f"`metric` must begin with a score, not with `{names[0]}`")
        if len(names) > 1 and self.pruner.kind != "none":
            raise ValueError(
                "several objectives need `pruner: {kind: none}`: pruners support only one"
            )
        if len(names) > 1 and self.search.kind == "cmaes":
            raise ValueError("`cmaes` supports only one objective; use `nsga2` or `tpe`")
        part = self.search if isinstance(self.search, SamplerPart) else None
        if len(names) > 1 and part is not None and not part.supports_objectives:
            raise ValueError(
                f"`{part.kind}` supports only one objective; use a sampler such as `nsga2`"
            )
        return self

    @model_validator(mode="after")
    def _check_sampler(self) -> "SearchSpace":
        """Check that a grid searches only discrete parameters, and `cmaes` only plain ranges."""
        for name, parameter in self.searched_parameters.items():
            if self.search.kind == "grid" and parameter.levels is None:
                raise ValueError(f"a grid needs `choices` or `int` for `{name}`")
            is_nuisance = parameter.role == "nuisance"
            # Scientific choices are fixed within an arm, so the sampler does not see them.
            if (
                self.search.kind == "cmaes"
                and is_nuisance
                and (parameter.choices or parameter.when)
            ):
                raise ValueError(f"`cmaes` cannot search `{name}`: it has choices or a condition")
            part = self.search if isinstance(self.search, SamplerPart) else None
            if part is not None and parameter.when and not part.supports_conditions:
                raise ValueError(f"`{part.kind}` cannot search `{name}`: it has a condition")
        return self
