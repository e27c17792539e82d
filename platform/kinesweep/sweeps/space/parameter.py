"""Parameters of a search space: their values, roles and conditions.

Roles follow the Deep Learning Tuning Playbook: the effect of a `scientific` parameter is the
question, `nuisance` parameters are tuned to make the comparison fair, a `fixed` parameter overrides
the recipe, and `noise` is the seed over which the finals repeat.
"""

from typing import Any, Literal

import optuna
from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig

ScalarValue = str | int | float | bool | None
Values = dict[str, Any]
"""Dotted recipe key → value."""
SEED = "training.seed"
"""Recipe key of the random seed, the only parameter that may have the role `noise`."""


class SearchParameter(StrictConfig):
    """A parameter of a search space with exactly one of `log`, `float`, `int` and `choices`."""

    role: Literal["nuisance", "scientific", "fixed", "noise"] = Field(
        "nuisance",
        description="`scientific`: its effect is the question, and each level is searched"
        " separately; `nuisance`: tuned; `fixed`: one value that overrides the recipe; `noise`: the"
        " seeds of the finals.",
    )
    log: tuple[float, float] | None = Field(
        None, description="Lower and upper bound, sampled on a log scale."
    )
    float_: tuple[float, float] | None = Field(
        None, alias="float", description="Lower and upper bound of real numbers."
    )
    int_: tuple[int, int] | None = Field(
        None, alias="int", description="Lower and upper bound of integers, both included."
    )
    choices: tuple[ScalarValue, ...] | None = Field(
        None, min_length=1, description="List of values."
    )
    when: dict[str, ScalarValue | tuple[ScalarValue, ...]] = Field(
        {},
        description="Condition: the parameter applies only where these parameters or recipe keys"
        " have this value (or one of these values).",
    )
    rationale: str = Field("", description="Reason for this range, shown in the report.")

    @model_validator(mode="after")
    def _check_range(self) -> "SearchParameter":
        """Check that exactly one range or list is given, and that it is valid."""
        ranges = [v for v in (self.log, self.float_, self.int_, self.choices) if v is not None]
        if len(ranges) != 1:
            raise ValueError("give exactly one of `log`, `float`, `int`, `choices`")
        for low_high in (self.log, self.float_, self.int_):
            if low_high is not None and not low_high[0] < low_high[1]:
                raise ValueError(f"the range {list(low_high)} must be increasing")
        if self.log is not None and self.log[0] <= 0:
            raise ValueError(f"a log range must be above 0, but begins at {self.log[0]:g}")
        # Compared by `repr`, because 1, 1.0 and True are equal in Python but differ in a recipe.
        if self.choices is not None and len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError("`choices` lists a value twice")
        return self

    @model_validator(mode="after")
    def _check_role(self) -> "SearchParameter":
        """Check that the number of choices fits the role."""
        if self.role != "nuisance" and self.choices is None:
            raise ValueError(f"a {self.role} parameter needs `choices`")
        if self.role == "fixed" and len(self.choices or ()) != 1:
            raise ValueError("a fixed parameter needs exactly one choice")
        if self.role == "scientific" and len(self.choices or ()) < 2:
            raise ValueError("a scientific parameter needs at least two choices, its levels")
        return self

    @property
    def bounds_or_choices(self) -> tuple[ScalarValue, ...]:
        """Return both bounds, or all choices: the values that the recipe's schema must accept."""
        values: tuple[ScalarValue, ...] | None = (
            self.log or self.float_ or self.int_ or self.choices
        )
        assert values is not None
        return values

    @property
    def levels(self) -> tuple[ScalarValue, ...] | None:
        """Return all values of the parameter, or None if it is continuous."""
        if self.int_ is not None:
            return tuple(range(self.int_[0], self.int_[1] + 1))
        return self.choices

    def to_optuna_distribution(self) -> optuna.distributions.BaseDistribution:
        """Return the range or the choices as an Optuna distribution."""
        if self.log is not None:
            return optuna.distributions.FloatDistribution(*self.log, log=True)
        if self.float_ is not None:
            return optuna.distributions.FloatDistribution(*self.float_)
        if self.int_ is not None:
            return optuna.distributions.IntDistribution(*self.int_)
        return optuna.distributions.CategoricalDistribution(tuple(self.optuna_choices))

    def to_optuna_value(self, value: ScalarValue) -> ScalarValue:
        """Return a value of the parameter as it is in Optuna."""
        return value if self.choices is None or not self._has_equal_choices else repr(value)

    def from_optuna_value(self, value: ScalarValue) -> ScalarValue:
        """Return a value that Optuna suggests as it is in a recipe."""
        return value if self.choices is None else self.optuna_choices[value]

    @property
    def _has_equal_choices(self) -> bool:
        """Return whether choices that differ in a recipe are equal in Python, such as 1, true."""
        return len({*(self.choices or ())}) < len(self.choices or ())

    @property
    def optuna_choices(self) -> dict[ScalarValue, ScalarValue]:
        """Return choice as it is in Optuna → choice as it is in a recipe."""
        # Optuna finds a choice by `==`, so it would take `true` for 1: every trial of one would be
        # recorded as a trial of the other.
        return {self.to_optuna_value(choice): choice for choice in self.choices or ()}

    def map_unit_to_value(self, unit: float) -> ScalarValue:
        """Map a number in [0, 1) to a value of the parameter, uniformly on its own scale."""
        if self.log is not None:
            low, high = self.log
            return float(low * (high / low) ** unit)
        if self.float_ is not None:
            return float(self.float_[0] + unit * (self.float_[1] - self.float_[0]))
        levels = self.levels
        assert levels is not None
        return levels[int(unit * len(levels))]

    def is_active(self, values: Values) -> bool:
        """Return whether the parameter is active, that is, whether all of its conditions hold.

        Args:
            values: Flattened recipe values, overridden by the values chosen so far.
        """
        for key, required in self.when.items():
            allowed = required if isinstance(required, tuple) else (required,)
            if values.get(key) not in allowed:
                # A parameter that does not apply has no value and meets only the condition None.
                return False
        return True


def format_values(values: Values) -> str:
    """Format values as `key=value` pairs in one line.

    Only the last part of each key and three significant digits of each float are shown.
    """
    return " ".join(
        f"{name.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in values.items()
    )
