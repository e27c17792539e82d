"""A searched parameter: what values it may take, in which role, and under which condition.

Roles are those of the deep learning tuning playbook: the effect of a `scientific` parameter is the
question, `nuisance` parameters are tuned so that the comparison is fair, a `fixed` one is laid over
the recipe, and `noise` is what the finals repeat over (the seed).
"""

from typing import Any, Literal

import optuna
from pydantic import Field, model_validator

from kinesweep.core.config import Frozen

Plain = str | int | float | bool | None
Values = dict[str, Any]
"""Dotted recipe key → value."""
SEED = "training.seed"
"""The one parameter that may be noise."""


class Parameter(Frozen):
    """What values a parameter may take; exactly one of the four kinds."""

    role: Literal["nuisance", "scientific", "fixed", "noise"] = Field(
        "nuisance",
        description="`scientific`: the question, each level is searched by itself; `nuisance`:"
        " tuned; `fixed`: one value laid over the recipe; `noise`: the seeds of the finals.",
    )
    log: tuple[float, float] | None = Field(None, description="Range, searched on a log scale.")
    float_: tuple[float, float] | None = Field(None, alias="float", description="Range of numbers.")
    int_: tuple[int, int] | None = Field(None, alias="int", description="Range of whole numbers.")
    choices: tuple[Plain, ...] | None = Field(None, min_length=1, description="Listed values.")
    when: dict[str, Plain | tuple[Plain, ...]] = Field(
        {},
        description="Only where these parameters, or keys of the recipe, have this value (or one"
        " of these).",
    )
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
        if self.choices is not None and len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError("lists a choice twice")
        return self

    @model_validator(mode="after")
    def _role_fits(self) -> "Parameter":
        if self.role != "nuisance" and self.choices is None:
            raise ValueError(f"a {self.role} parameter needs `choices`")
        if self.role == "fixed" and len(self.choices or ()) != 1:
            raise ValueError("a fixed parameter has one choice")
        if self.role == "scientific" and len(self.choices or ()) < 2:
            raise ValueError("a scientific parameter has at least two choices, its levels")
        return self

    @property
    def edges(self) -> tuple[Plain, ...]:
        """Every value that the schema must allow: range ends, or all choices."""
        found: tuple[Plain, ...] | None = self.log or self.float_ or self.int_ or self.choices
        assert found is not None
        return found

    @property
    def levels(self) -> tuple[Plain, ...] | None:
        """All its values, or None when they cannot be counted."""
        if self.int_ is not None:
            return tuple(range(self.int_[0], self.int_[1] + 1))
        return self.choices

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The same for Optuna."""
        if self.log is not None:
            return optuna.distributions.FloatDistribution(*self.log, log=True)
        if self.float_ is not None:
            return optuna.distributions.FloatDistribution(*self.float_)
        if self.int_ is not None:
            return optuna.distributions.IntDistribution(*self.int_)
        return optuna.distributions.CategoricalDistribution(self.choices or ())

    def at(self, unit: float) -> Plain:
        """The value at a place in [0, 1), every value alike likely on the parameter's own scale."""
        if self.log is not None:
            low, high = self.log
            return float(low * (high / low) ** unit)
        if self.float_ is not None:
            return float(self.float_[0] + unit * (self.float_[1] - self.float_[0]))
        levels = self.levels
        assert levels is not None
        return levels[int(unit * len(levels))]

    def applies(self, values: Values) -> bool:
        """Whether its condition holds among the values chosen so far, the recipe's beneath them."""
        for key, wanted in self.when.items():
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            if values.get(key) not in allowed:
                return False
        return True


def shown(values: Values) -> str:
    """Swept values in a line."""
    return " ".join(
        f"{name.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in values.items()
    )
