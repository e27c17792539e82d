"""Recipe sections `checkpoints`, `performance` and `resources`: disk, speed, and the machine."""

from typing import Any, Literal

from pydantic import Field, field_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.core.units import parse_bytes


class CheckpointsConfig(StrictConfig):
    """Retention of checkpoints on disk."""

    keep: Literal["best+last", "best", "last", "all"] = Field(
        "best+last",
        description="Checkpoints kept while a run is in progress; a finished run keeps only its"
        " best model.",
    )
    max_disk: str = Field("50 GB", description="Disk limit for all checkpoints of a sweep.")

    @field_validator("max_disk")
    @classmethod
    def _check_bytes(cls, value: str) -> str:
        """Check that the disk limit is a number of bytes with a unit, such as `50 GB`."""
        parse_bytes(value)  # only to validate: the recipe keeps the text as it was written
        return value

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
