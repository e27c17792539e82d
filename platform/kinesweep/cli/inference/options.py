"""Options of commands that use a bundle: own prompts, sampling, and other frame rates."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinesweep.config.recipe.generation import MIN_TEMPERATURE
from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.config.recipe.generation import GenerationConfig
    from kinesweep.export import Bundle

PromptOption = Annotated[
    str | None,
    typer.Option(
        help="Prompt of each clip in front of the frames, such as a language tag; inputs with their"
        " own keep it.",
        show_default=False,
    ),
]
QuestionOption = Annotated[
    str | None,
    typer.Option(
        help="Question or instruction in front of the frames, for a model that was trained with"
        " one.",
        show_default=False,
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option(
        help="Text at the start, or system turn of a chat, for a model that was trained with one.",
        show_default=False,
    ),
]
SampleOption = Annotated[
    bool,
    typer.Option(
        "--sample", help="Draw the texts instead of searching for the most probable ones."
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Random seed of the draws; with the same seed a file gets the same text.",
        show_default=False,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        help="Divisor of the logits before a draw; below 1 favors probable tokens.",
        show_default=False,
    ),
]
AcceptRateOption = Annotated[
    bool,
    typer.Option(
        "--accept-rate", help="Accept files with another frame rate than the training data."
    ),
]


@dataclass(frozen=True)
class InferenceOptions:
    """Prompts and sampling that a command was given.

    Attributes:
        prompt: Prompt of each clip; None: that of the bundle.
        question: Question in front of the frames; None: that of the recipe.
        system: Text at the start; None: that of the recipe.
        sample: Whether to draw the texts.
        seed: Random seed of the draws; None: that of the recipe.
        temperature: Divisor of the logits; None: that of the recipe.
    """

    prompt: str | None = None
    question: str | None = None
    system: str | None = None
    sample: bool = False
    seed: int | None = None
    temperature: float | None = None

    def check(self, generation: "GenerationConfig") -> None:
        """Check that the options of sampling have an effect, before the model is loaded.

        Args:
            generation: Decoding settings of the model.

        Raises:
            InputError: If they have none, or the temperature is too low or infinite.
        """
        if self.temperature is not None and not MIN_TEMPERATURE <= self.temperature < float("inf"):
            raise InputError(
                f"`--temperature` must be a number from {MIN_TEMPERATURE}, but is"
                f" {self.temperature:g}"
            )
        for name in ("seed", "temperature"):
            # A setting without an effect is refused, so that nobody takes equal texts for a result.
            if getattr(self, name) is not None and not (self.sample or generation.do_sample):
                raise InputError(
                    f"`--{name}` has no effect, because this model searches for the most probable"
                    " text; add `--sample`"
                )

    def apply(self, bundle: "Bundle") -> "Bundle":
        """Return the bundle with these prompts and this decoding.

        Raises:
            InputError: If the model was trained without a prompt of a kind that is given.
        """
        # One beam: draws within a beam search would be neither the most probable text nor a sample.
        changes: dict[str, Any] = {"do_sample": True, "num_beams": 1} if self.sample else {}
        for name in ("seed", "temperature"):
            if getattr(self, name) is not None:
                changes[name] = getattr(self, name)
        bundle = bundle.with_prompts(self.prompt, self.question, self.system)
        return bundle.with_generation(**changes) if changes else bundle
