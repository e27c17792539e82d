"""Reading of a model's answers to the questions of side tasks.

A generated text is compared without case and without punctuation around it. A yes/no answer may go
on after the first word ("Yes, it is"); a list of words may contain nothing but words of its
question. What cannot be read this way counts as a wrong answer and is reported.
"""

import re
import unicodedata
from dataclasses import dataclass

from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.data.tasks.questions import Example


@dataclass(frozen=True)
class TaskAnswer:
    """A model's answer to the question about a clip.

    Attributes:
        clip_id: Id of the clip.
        example: Question, right answer, and whether the frames were reversed.
        text: Generated text.
        parsed: Answer that was read from the text: `yes` or `no` as the recipe writes them, or the
            words in the order of the question; None if it cannot be read.
    """

    clip_id: str
    example: Example
    text: str
    parsed: str | None

    @property
    def is_correct(self) -> bool:
        """Return whether the answer is the right one."""
        return self.parsed == self.example.answer


def parse_answer(text: str, example: Example, prompt: PromptConfig) -> str | None:
    """Read the answer from a generated text; see `TaskAnswer.parsed`.

    Args:
        text: Generated text.
        example: Question with the words that it lists, if any.
        prompt: Texts of the answers yes and no.
    """
    if example.choices:
        return _parse_words(text, example.choices)
    normalized_text = _normalize(text)
    # The longer one first, because one answer may begin with the other.
    for answer in sorted((prompt.yes, prompt.no), key=len, reverse=True):
        normalized_answer = _normalize(answer)
        rest = normalized_text.removeprefix(normalized_answer)
        # `nothing` does not begin with the answer `no`.
        if normalized_text.startswith(normalized_answer) and not rest[:1].isalnum():
            return answer
    return None


def _parse_words(text: str, choices: tuple[str, ...]) -> str | None:
    """Read which words of a question a text lists; None for an empty list and for other words."""
    # Models that were not fine-tuned list words with semicolons or in lines.
    named = {_normalize(part) for part in re.split("[,;\n]", text)}
    selected = [word for word in choices if _normalize(word) in named]
    has_other_words = bool(named - {_normalize(word) for word in choices})
    return ", ".join(selected) if selected and not has_other_words else None


def _normalize(text: str) -> str:
    """Return a text without case, and without spaces and punctuation at its ends."""
    # Composed first, so that texts in two Unicode forms compare equal.
    characters = list(unicodedata.normalize("NFC", text).casefold())
    for index in (0, -1):
        while characters and not _is_word_character(characters[index]):
            characters.pop(index)
    return "".join(characters)


def _is_word_character(character: str) -> bool:
    """Return whether a character is neither a space nor punctuation."""
    return not character.isspace() and not unicodedata.category(character).startswith("P")
