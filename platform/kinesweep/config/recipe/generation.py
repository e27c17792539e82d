"""Recipe section `generation`: decoding of text by beam search or sampling."""

from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig, validate_config

# Settings that act on the draws of sampling only.
_SAMPLING_KEYS = ("temperature", "top_k", "top_p", "seed")
MIN_TEMPERATURE = 0.001
"""Smallest temperature of sampling: far below it, divided logits exceed the range of float32."""


class GenerationConfig(StrictConfig):
    """Settings of text decoding."""

    num_beams: int = Field(5, ge=1, description="Beam size; 1 is greedy search.")
    max_new_tokens: int = Field(
        100, ge=1, description="Largest number of generated tokens, including the forced prompt."
    )
    length_penalty: float = Field(
        1.0, description="Exponent of the length in beam scores; above 0 favors longer texts."
    )
    truecase: bool = Field(
        False,
        description="Restore the case that words have in the training texts; for"
        " `model.tokenizer.lowercase`.",
    )
    min_new_tokens: int | None = Field(
        None,
        ge=1,
        description="Smallest number of tokens of a text, without the forced prompt and the end of"
        " sentence; none: no limit.",
    )
    repetition_penalty: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Factor by which tokens that the text already contains become less likely"
        " (CTRL, arXiv 1909.05858); 1 and none: no penalty.",
    )
    no_repeat_ngram_size: int | None = Field(
        None,
        ge=1,
        description="Length of token sequences that a text contains at most once; none: no limit.",
    )
    do_sample: bool = Field(
        False,
        description="Draw each token from the model's distribution instead of searching for the"
        " most probable text; needs `num_beams: 1`. The draws depend on `seed` and the clip only,"
        " so a text is the same in every batch and on every number of workers.",
    )
    temperature: float | None = Field(
        None,
        ge=MIN_TEMPERATURE,
        allow_inf_nan=False,
        description="Divisor of the logits before sampling; below 1 favors probable tokens.",
    )
    top_k: int | None = Field(
        None, ge=1, description="Draw from this number of the most probable tokens; none: from all."
    )
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Draw from the most probable tokens with this total probability; none: from"
        " all.",
    )
    seed: int | None = Field(None, ge=0, description="Random seed of sampling; default: 0.")
    cache: Literal["dynamic", "static"] = Field(
        "dynamic",
        description="Memory of keys and values while a text is written: `dynamic` grows with it;"
        " `static` has its final size from the start, with which Hugging Face captures the steps as"
        " CUDA graphs on a GPU. Greedy texts are the same.",
    )

    @model_validator(mode="after")
    def _check_options(self) -> "GenerationConfig":
        """Check that the lengths fit together, and that sampling settings have an effect."""
        if self.min_new_tokens is not None and self.min_new_tokens >= self.max_new_tokens:
            raise ValueError(
                f"`min_new_tokens` ({self.min_new_tokens}) must be below `max_new_tokens`"
                f" ({self.max_new_tokens}), which includes the end of sentence"
            )
        unused = [key for key in _SAMPLING_KEYS if getattr(self, key) is not None]
        if unused and not self.do_sample:
            raise ValueError(f"`{unused[0]}` has no effect without `do_sample: true`")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(
                f"`do_sample` needs `num_beams: 1`, not {self.num_beams}: the draws of beams would"
                " depend on the other clips of the batch"
            )
        return self

    def with_changes(self, **changes: Any) -> "GenerationConfig":
        """Return the section with some keys replaced.

        Raises:
            ConfigError: If a key is unknown or a value is invalid.
        """
        values = {**self.model_dump(), **changes}
        return validate_config(GenerationConfig, values, "the changed section `generation`")

    def get_set_values(self) -> dict[str, Any]:
        """Return the plain values of the section without optional keys that are not set."""
        values = self.model_dump(mode="json")
        remove_unset_options(values)
        return values


def remove_unset_options(values: dict[str, Any]) -> None:
    """Remove keys of the section that are not set and that earlier versions lack, in place."""
    for key in ("min_new_tokens", "repetition_penalty", "no_repeat_ngram_size", *_SAMPLING_KEYS):
        if values[key] is None:
            del values[key]
    if not values["do_sample"]:
        del values["do_sample"]
    if values["cache"] == "dynamic":
        del values["cache"]


def check_training_beams(generation: GenerationConfig, num_beams: int) -> None:
    """Check that evaluations during training use a single beam if texts are sampled.

    Args:
        generation: Settings of text decoding.
        num_beams: Number of beams during training.

    Raises:
        ValueError: If they use several.
    """
    if generation.do_sample and num_beams > 1:
        raise ValueError(
            "`generation.do_sample` needs `evaluation.during_training.num_beams: 1`, not"
            f" {num_beams}"
        )
