"""Recipe sections `checkpoints` and `resources`: what a run needs on disk and of the machine."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.core.units import parse_bytes


class CheckpointsConfig(StrictConfig):
    """Interval of checkpoints and their retention on disk."""

    keep: Literal["best+last", "best", "last", "all"] = Field(
        "best+last",
        description="Checkpoints kept while a run is in progress; a finished run keeps only its"
        " best model.",
    )
    every: int = Field(
        1,
        ge=1,
        description="Evaluations from one checkpoint to the next. An evaluation that is the best so"
        " far always has one (except with `keep: last`), and so has the last. A run that is killed"
        " repeats what it did after its last checkpoint.",
    )
    max_disk: str = Field("50 GB", description="Disk limit for all checkpoints of a sweep.")

    @field_validator("max_disk")
    @classmethod
    def _check_bytes(cls, value: str) -> str:
        """Check that the disk limit is a number of bytes with a unit, such as `50 GB`."""
        parse_bytes(value)  # only to validate: the recipe keeps the text as it was written
        return value

    @model_validator(mode="after")
    def _check_every(self) -> Self:
        """Check that the interval has an effect: with `keep: best` only the best are written."""
        if self.every > 1 and self.keep == "best":
            raise ValueError(
                "`every` has no effect with `keep: best`, which writes the best checkpoints only;"
                " set `keep` to best+last, last or all"
            )
        return self

    @property
    def max_disk_bytes(self) -> int:
        """Return the disk limit in bytes."""
        return parse_bytes(self.max_disk)


class ResourcesConfig(StrictConfig):
    """Resources of one run."""

    workers: int = Field(1, ge=1, description="Number of data-parallel processes.")
    cpus: int = Field(1, ge=1, description="Number of cores and threads per worker.")
    gpus: float = Field(
        0, ge=0, description="GPUs per worker: a fraction below 1, otherwise a whole number."
    )

    # Ray shares a GPU between processes, but cannot split several GPUs into fractions.
    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, value: float) -> float:
        """Check that a number of GPUs above 1 is a whole number."""
        if value > 1 and not value.is_integer():  # infinity, which has no integer, is none
            raise ValueError("above 1, the number of GPUs must be a whole number")
        return value
