"""Recipe parts `prompt`, `context` and `batch.tasks`: what a model is asked about a clip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Literal

from pydantic import Field, model_validator

from kinesweep.core.config import Frozen

TASKS = ("translation", "word_present", "which_words", "reversed")


class PromptConfig(Frozen):
    """Words around the frames; all empty: only the corpus's own encoder prompts."""

    chat: bool = Field(
        False,
        description="Put all of it into a user's turn, by the tokenizer's chat template; for"
        " causal backbones that were tuned to chat.",
    )
    system: str = Field("", description="Said first; with `chat` in the system's turn.")
    context: str = Field("", description="Said before the sentences of `context`, if any.")
    question: str = Field("", description="Asked of a clip, before its frames.")
    after: str = Field("", description="Said between the frames and the text.")
    word_present: str = Field(
        'Is the sign for "{word}" in it? Answer yes or no.',
        description="Asked instead, in this task; `{word}` stands for the word.",
    )
    which_words: str = Field(
        "Which of these words are signed: {words}?",
        description="Asked instead, in this task; `{words}` stands for words and commas.",
    )
    reversed: str = Field(
        "Does it run backwards? Answer yes or no.", description="Asked instead, in this task."
    )
    yes: str = Field("yes", min_length=1, description="Answer of tasks.")
    no: str = Field("no", min_length=1, description="Answer of tasks.")

    @model_validator(mode="after")
    def _places_are_known(self) -> "PromptConfig":
        wanted = {"word_present": {"word"}, "which_words": {"words"}}
        for key, places in wanted.items():
            try:
                found = {name for _, name, _, _ in Formatter().parse(getattr(self, key)) if name}
            except ValueError as error:
                raise ValueError(f"`{key}` has braces that do not fit: {error}") from None
            if found != places:
                raise ValueError(f"`{key}` must hold `{{{places.pop()}}}`, and no other braces")
        return self


class ContextConfig(Frozen):
    """Sentences of the same document that precede a clip, said before its frames."""

    window: int = Field(0, ge=0, description="Sentences right before the clip.")
    prelude: int = Field(0, ge=0, description="First sentences of the document.")
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens at the most; sentences far from the clip give way first."
    )
    generation: Literal["none", "gold", "prepared", "on_the_fly"] = Field(
        "on_the_fly",
        description="Whose sentences they are when text is decoded: nobody's, the references (which"
        " no model has in use, so scores flatter), those of `predictions`, or the model's own,"
        " written in order. In training: the references.",
    )
    predictions: dict[Literal["validation", "test"], str] = Field(
        {}, description="Split → table of predictions of an earlier run, for `prepared`."
    )

    @model_validator(mode="after")
    def _prepared(self) -> "ContextConfig":
        if (self.generation == "prepared") != bool(self.predictions):
            raise ValueError("`generation: prepared` and `predictions` belong together")
        return self

    @property
    def is_used(self) -> bool:
        """Whether clips have any."""
        return bool(self.window or self.prelude)

    @property
    def reads_references(self) -> bool:
        """Whether what is decoded, and so what is scored, stands on references before it."""
        return self.is_used and self.generation == "gold"


class TasksConfig(Frozen):
    """How often each task is asked of a training clip, as weights."""

    translation: float = Field(1.0, ge=0, description="What the text is.")
    word_present: float = Field(0.0, ge=0, description="Whether a word is in it: yes or no.")
    which_words: float = Field(0.0, ge=0, description="Which of a few words are in it.")
    reversed: float = Field(0.0, ge=0, description="Whether it runs backwards: yes or no.")

    @model_validator(mode="after")
    def _something_to_do(self) -> "TasksConfig":
        if self.translation == 0:
            raise ValueError("`translation` must be above 0: it is what is scored")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Task → share, of tasks that are asked at all."""
        weights = {task: float(getattr(self, task)) for task in TASKS}
        total = sum(weights.values())
        return {task: weight / total for task, weight in weights.items() if weight}


@dataclass(frozen=True)
class Asking:
    """How clips are asked about.

    Attributes:
        prompt: the words around the frames.
        context: how many sentences stand before them.
        prepared: clip id → sentence, where `context.generation` is `prepared`.
    """

    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    prepared: Mapping[str, str] = field(default_factory=dict)
