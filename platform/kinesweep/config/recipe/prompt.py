"""Recipe sections `prompt`, `context` and `batch.tasks`: the text around a clip, and its tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig

# In a fixed order: which task a random number selects depends on it.
TASK_NAMES = ("translation", "word_present", "which_words", "reversed")

SideTaskName = Literal["word_present", "which_words", "reversed"]


class PromptConfig(StrictConfig):
    """Prompt text around the frames; if all is empty, only the corpus's own prompts are used."""

    chat: bool = Field(
        False,
        description="Format the prompt as a user turn with the tokenizer's chat template; for"
        " causal backbones that were tuned for chat.",
    )
    system: str = Field("", description="Text at the start; with `chat`, the system turn.")
    context: str = Field("", description="Text before the context sentences, if there are any.")
    question: str = Field("", description="Question or instruction before the frames.")
    suffix: str = Field("", description="Text between the frames and the generated text.")
    word_present: str = Field(
        'Is the sign for "{word}" in it? Answer yes or no.',
        description="Question of the task `word_present`; `{word}` is replaced by the word.",
    )
    which_words: str = Field(
        "Which of these words are signed: {words}?",
        description="Question of the task `which_words`; `{words}` is replaced by a"
        " comma-separated list.",
    )
    reversed: str = Field(
        "Does it run backwards? Answer yes or no.", description="Question of the task `reversed`."
    )
    yes: str = Field("yes", min_length=1, description="Positive answer in the tasks.")
    no: str = Field("no", min_length=1, description="Negative answer in the tasks.")

    @model_validator(mode="after")
    def _check_placeholders(self) -> "PromptConfig":
        """Check that both word questions contain their placeholder and no other braces."""
        placeholders_by_key = {"word_present": {"word"}, "which_words": {"words"}}
        for key, expected_placeholders in placeholders_by_key.items():
            try:
                # `parse` yields the names of the placeholders and rejects unbalanced braces. A name
                # is None for text alone, and empty for `{}`, which is a placeholder as well.
                placeholders = {
                    name if not spec else f"{name}:{spec}"
                    for _, name, spec, _ in Formatter().parse(getattr(self, key))
                    if name is not None
                }
            except ValueError as error:
                raise ValueError(f"`{key}` has unbalanced braces: {error}") from None
            if placeholders != expected_placeholders:
                placeholder = expected_placeholders.pop()
                raise ValueError(f"`{key}` must contain `{{{placeholder}}}` and no other braces")
        return self


class ContextConfig(StrictConfig):
    """Sentences of the same document that precede a clip, inserted before its frames."""

    window: int = Field(
        0, ge=0, description="Number of sentences immediately before the clip to include."
    )
    document_start: int = Field(
        0, ge=0, description="Number of sentences from the start of the document to include."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Token limit of the context; sentences far from the clip are dropped first.",
    )
    decoding_context: Literal["none", "references", "file", "model"] = Field(
        "model",
        description="Source of the sentences during decoding: `none`; `references`, which are"
        " unknown in real use, so scores are too optimistic; `file`, the table in"
        " `predictions`; or `model`, the model's own output in document order. Training always"
        " uses the references.",
    )
    predictions: dict[Literal["validation", "test"], str] = Field(
        {}, description="Split → table of an earlier run's predictions, for `file`."
    )

    @model_validator(mode="after")
    def _check_predictions(self) -> "ContextConfig":
        """Check that `predictions` are given exactly if `decoding_context` is `file`."""
        # Predictions that are not used would be a mistake, so neither setting stands alone.
        if (self.decoding_context == "file") != bool(self.predictions):
            raise ValueError("`decoding_context: file` and `predictions` belong together")
        return self

    def complete_hashed_values(self, values: dict[str, Any]) -> None:
        """Change plain values of this section for the hash of a configuration, in place."""
        if not self.is_enabled and self.decoding_context == "model":
            # The former default, which is unused without context.
            values["decoding_context"] = "references"

    @property
    def is_enabled(self) -> bool:
        """Return whether sentences of the document that precede a clip are read as context."""
        return bool(self.window or self.document_start)

    @property
    def uses_reference_context(self) -> bool:
        """Return whether the context in decoding consists of reference sentences.

        Scores then depend on texts that are unknown in real use.
        """
        return self.is_enabled and self.decoding_context == "references"


class TasksConfig(StrictConfig):
    """Sampling weights of the tasks on training clips."""

    translation: float = Field(1.0, ge=0, description="Weight of translating the clip.")
    word_present: float = Field(
        0.0, ge=0, description="Weight of the yes/no question whether a word occurs in the clip."
    )
    which_words: float = Field(
        0.0, ge=0, description="Weight of the question which of several words occur in the clip."
    )
    reversed: float = Field(
        0.0, ge=0, description="Weight of the yes/no question whether the clip is reversed."
    )

    @model_validator(mode="after")
    def _check_translation(self) -> "TasksConfig":
        """Check that the task `translation` has a weight above 0."""
        if self.translation == 0:
            raise ValueError("`translation` must be above 0, because translations are scored")
        return self

    @property
    def sampling_probabilities(self) -> dict[str, float]:
        """Return task → sampling probability, for tasks with a weight above 0; they sum to 1."""
        weights = {task: float(getattr(self, task)) for task in TASK_NAMES}
        total_weight = sum(weights.values())
        return {task: weight / total_weight for task, weight in weights.items() if weight}


class TaskEvaluationConfig(StrictConfig):
    """Scoring of a model's answers to the questions of a side task."""

    during_training: bool = Field(
        False,
        description="Ask the questions in every evaluation during training too, so that the"
        " accuracy can select checkpoints and be an objective of a sweep.",
    )
    max_clips: int | None = Field(
        None,
        ge=1,
        description="Number of clips that are asked about, spread evenly over the split; none:"
        " all. During training, `evaluation.during_training.max_clips` applies as well.",
    )
    seed: int = Field(
        0,
        ge=0,
        description="Random seed of the questions, which are a function of seed and clip: models"
        " with the same seed answer the same questions.",
    )


@dataclass(frozen=True)
class PromptSettings:
    """Prompt and context settings for the clips of a run.

    Attributes:
        prompt: Text around the frames.
        context: Settings of the preceding sentences.
        prepared: Clip id → sentence, if `context.decoding_context` is `file`; otherwise empty.
    """

    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    prepared: Mapping[str, str] = field(default_factory=dict)
