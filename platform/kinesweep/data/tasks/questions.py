"""Questions and answers about clips: the examples of translation and of the side tasks.

A side task asks whether a word is signed, which of several words are signed, or whether the clip
runs backwards. Training and evaluation build their questions here, so that a model is scored on
what it has learned. Words are compared case-insensitively: the keyword "Hello" matches "hello".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kinesweep.config.recipe.prompt import PromptConfig
from kinesweep.core.clip import Clip
from kinesweep.data.signed_words import get_signed_words

NUM_CHOICES = 4
"""Number of words in a `which_words` question."""
_MAX_CORRECT = 2  # of them that are signed
WORD_TASKS = frozenset({"word_present", "which_words"})
"""Tasks that ask about words of the clip."""


@dataclass(frozen=True)
class Example:
    """A question with its answer.

    Attributes:
        answer: Correct answer.
        question: Question that replaces the recipe's own; None for translation.
        is_reversed: Whether the frames are fed to the model in reversed order.
        choices: Words that a `which_words` question lists; otherwise empty.
        other_answers: Further correct answers; the one with the lowest loss is learned.
    """

    answer: str
    question: str | None = None
    is_reversed: bool = False
    other_answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    @classmethod
    def from_clip(cls, clip: Clip) -> "Example":
        """Create the translation example of a clip; its answer is the first reference.

        The answer is empty for a clip without references.
        """
        return cls(clip.texts[0] if clip.texts else "")


class QuestionBuilder:
    """A builder of the questions of side tasks about clips.

    Args:
        prompt: Texts of questions and answers.
        words: Words that are signed in any clip, each once; from them come the words that are not
            signed in the clip of a question.
    """

    def __init__(self, prompt: PromptConfig, words: Sequence[str]) -> None:
        self._prompt, self._words = prompt, words
        # A word has one form in all questions: its case must not reveal whether it is signed.
        self._word_forms = {word.casefold(): word for word in words}

    def build(self, task: str, clip: Clip, rng: np.random.Generator) -> Example | None:
        """Build the question of a side task about a clip.

        Args:
            task: `word_present`, `which_words` or `reversed`.
            clip: Clip with its words.
            rng: Generator from which the words and the right answer are drawn.

        Returns:
            The question with its answer; None for a task about words and a clip without any.
        """
        if task == "reversed":
            # Half of the clips are reversed, so that no constant answer is right more often.
            is_reversed = bool(rng.integers(2))
            return Example(self._format_yes_no(is_reversed), self._prompt.reversed, is_reversed)
        signed_words = [
            self._word_forms.get(word.casefold(), word) for word in get_signed_words(clip)
        ]
        if not signed_words:
            return None
        if task == "word_present":
            return self._ask_for_word(signed_words, rng)
        return self._ask_which_words(signed_words, rng)

    def _ask_for_word(self, signed_words: Sequence[str], rng: np.random.Generator) -> Example:
        """Ask whether one word is signed; the answer is yes in half of the cases.

        It is always yes if no other word exists.
        """
        # Drawn first: if no other word exists, the answer can only be yes.
        other_words = self._draw_other_words(signed_words, 1, rng)
        is_present = bool(rng.integers(2)) or not other_words
        word = str(rng.choice(signed_words)) if is_present else other_words[0]
        return Example(self._format_yes_no(is_present), self._prompt.word_present.format(word=word))

    def _ask_which_words(self, signed_words: Sequence[str], rng: np.random.Generator) -> Example:
        """Ask which of four words are signed; the answer lists one or two of them."""
        correct_words = list(
            rng.choice(signed_words, min(len(signed_words), _MAX_CORRECT), replace=False)
        )
        choices = [
            *correct_words,
            *self._draw_other_words(signed_words, NUM_CHOICES - len(correct_words), rng),
        ]
        # Otherwise the right words would always come first.
        shuffled = [str(choices[i]) for i in rng.permutation(len(choices))]
        # In the order of the question: one right text per question, whatever order was drawn.
        answer = ", ".join(word for word in shuffled if word in correct_words)
        question = self._prompt.which_words.format(words=", ".join(shuffled))
        return Example(answer, question, choices=tuple(shuffled))

    def _draw_other_words(
        self, signed_words: Sequence[str], num_words: int, rng: np.random.Generator
    ) -> list[str]:
        """Draw up to `num_words` different words of other clips that are not in `signed_words`."""
        other_words: list[str] = []
        # Case would let `Hello` be a wrong answer where `hello` is signed.
        excluded = {word.casefold() for word in signed_words}
        # A random order instead of single draws: no word comes twice, and the loop always ends.
        for index in rng.permutation(len(self._words)):
            word = self._words[index]
            if word.casefold() not in excluded:
                other_words.append(word)
                if len(other_words) == num_words:
                    break
        return other_words

    def _format_yes_no(self, is_yes: bool) -> str:
        """Return the text of the answer yes or no that the prompt config defines."""
        return self._prompt.yes if is_yes else self._prompt.no
