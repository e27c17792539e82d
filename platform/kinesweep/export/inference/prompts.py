"""Own prompts for a bundle, in the places of the input where its model has learned to read some.

A prompt in a place that the model never saw filled would be noise to it, so it is refused.
"""

from dataclasses import dataclass

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.core.errors import InputError


@dataclass(frozen=True)
class PromptChoice:
    """Texts that replace those with which a model was trained.

    Attributes:
        prompt: Prompt of each clip in front of the frames, such as a language tag; inputs with
            their own prompt keep it. None: the most frequent one of the training clips.
        question: Question or instruction in front of the frames; None: that of the recipe.
        system: Text at the start; None: that of the recipe.
    """

    prompt: str | None = None
    question: str | None = None
    system: str | None = None

    def check(self, prompt: PromptConfig, batch: BatchConfig, encoder_prompt: str) -> None:
        """Check that a model has the places of these texts.

        Args:
            prompt: Texts of the recipe of the model.
            batch: Section `batch` of the recipe of the model.
            encoder_prompt: Most frequent prompt of the training clips.

        Raises:
            InputError: If the model was trained without such a text.
        """
        places = find_prompt_places(prompt, batch, encoder_prompt)
        for name, text in vars(self).items():
            if text is not None and not places[name]:
                others = [f"`{other}`" for other, is_read in places.items() if is_read]
                raise InputError(
                    f"`{name}` cannot be given, because the model was trained without one; it reads"
                    f" {' and '.join(others) or 'no prompt at all'}. See `prompt` in its recipe"
                )

    def apply(self, loaded: LoadedModel) -> Recipe:
        """Return the recipe of a model with the question and the system prompt replaced."""
        chosen = {"question": self.question, "system": self.system}
        update = {key: text for key, text in chosen.items() if text is not None}
        prompt = loaded.recipe.prompt.model_copy(update=update)
        return loaded.recipe.model_copy(update={"prompt": prompt})


def find_prompt_places(
    prompt: PromptConfig, batch: BatchConfig, encoder_prompt: str
) -> dict[str, bool]:
    """Return name of a prompt → whether the model was trained with such a text.

    Args:
        prompt: Texts of the recipe of the model.
        batch: Section `batch` of the recipe of the model; it names the side tasks.
        encoder_prompt: Most frequent prompt of the training clips.
    """
    # Questions of side tasks stand where the question of a translation does.
    asks = bool(prompt.question) or len(batch.tasks.sampling_probabilities) > 1
    return {
        "prompt": bool(encoder_prompt),
        "question": asks,
        # A chat template has a place for a system turn even if the recipe leaves it empty.
        "system": bool(prompt.system) or prompt.chat,
    }


def is_side_task_question(prompt: PromptConfig, question: str) -> bool:
    """Return whether a text is a question of a side task, with any words.

    Args:
        prompt: Texts of questions.
        question: Text to compare.
    """
    if question == prompt.reversed:
        return True
    for template, placeholder in ((prompt.word_present, "{word}"), (prompt.which_words, "{words}")):
        # Only the words vary; what surrounds them identifies the task.
        before, _, after = template.partition(placeholder)
        if question.startswith(before) and question.endswith(after):
            return True
    return False
