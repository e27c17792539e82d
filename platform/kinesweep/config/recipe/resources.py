"""Recipe sections `checkpoints`, `performance` and `resources`: disk, speed, and the machine."""

from typing import Any, Literal, Self

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


class PerformanceConfig(StrictConfig):
    """Speed of training. A key enters the identity of a run only if it is not its default.

    Precision and activation checkpointing are in `training`, under their Hugging Face names.
    """

    deterministic: bool = Field(
        True,
        description="Use only kernels that repeat to the bit. `false` is faster on GPUs, where two"
        " runs of one seed then differ; `kinesweep repeat` refuses such a recipe.",
    )
    tf32: bool = Field(
        False,
        description="Compute float32 products, convolutions and RNNs on GPUs in TensorFloat-32,"
        " which rounds their factors to 10 bits of mantissa.",
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto",
        description="Implementation of the backbone's attention in training, by its Hugging Face"
        " name; `auto`: Hugging Face's choice. `flash_attention_2` needs a GPU, bf16 or fp16, and"
        " the package flash-attn.",
    )
    compile: bool = Field(
        False,
        description="Compile the backbone's layers with `torch.compile`; needs a C++ compiler, or"
        " Triton on GPUs. The first steps take longer, and each new shape of batches too.",
    )


def remove_default_performance(recipe: dict[str, Any]) -> None:
    """Remove the keys of `performance` that have their defaults, in place, from hashed values.

    Args:
        recipe: Plain values of a recipe.
    """
    defaults = PerformanceConfig().model_dump(mode="json")
    changed = {key: v for key, v in recipe["performance"].items() if v != defaults[key]}
    # Recipes from before this section have none, and keep their hash.
    recipe.pop("performance")
    if changed:
        recipe["performance"] = changed


def check_performance(
    performance: PerformanceConfig, resources: ResourcesConfig, precision: str, is_sharded: bool
) -> None:
    """Check that attention and compilation fit the precision and the resources of training.

    Args:
        performance: The `performance` section.
        resources: The `resources` section.
        precision: `training.precision`.
        is_sharded: `training.fsdp`.

    Raises:
        ValueError: If a check fails.
    """
    if performance.attention == "flash_attention_2":
        if resources.gpus == 0:
            raise ValueError("`performance.attention: flash_attention_2` needs `resources.gpus`")
        if precision == "fp32":
            raise ValueError(
                "`performance.attention: flash_attention_2` computes in half precision only; set"
                " `training.precision` to bf16 or fp16"
            )
    if performance.compile and is_sharded:
        raise ValueError("`performance.compile` and `training.fsdp` exclude each other")
