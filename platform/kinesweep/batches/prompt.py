"""What stands around a clip's frames: the corpus's prompt, context, question, a chat's turns.

In order: system, the clip's own encoder prompt, context, question; frames; what comes after. Each
piece is cut into tokens by itself, so that a long context never changes the tokens of the question.
With a chat template all of it is one user's turn, and the template's own tokens surround it.
"""

from collections.abc import Sequence
from functools import lru_cache

from jinja2 import TemplateError

from kinesweep.batches.collate import Tokens
from kinesweep.batches.examples import Example
from kinesweep.batches.text import Text
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.prompt import Asking

_TURN = "@@turn@@"
"""Stands for a user's turn while a template is filled in."""
_ONE_DAY = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""Begins a template. Llama 3.2's tells the model what day it is: a run that goes on tomorrow, or a
bundle, would read another prompt. This is the day that it takes where it knows none."""


class Prompter:
    """Makes a clip's tokens.

    Args:
        text: the tokenizer.
        asking: the words, and how long a context may be.

    Raises:
        InputError: a chat is asked for, but the tokenizer has no template for it.
    """

    def __init__(self, text: Text, asking: Asking = Asking()) -> None:
        self._prompt, self._end = asking.prompt, text.vocabulary.eos_id
        self._max_context, self._space = asking.context.max_tokens, text.space
        if self._prompt.chat:
            head, tail = _turns(text, self._prompt.system)
            self._head, self._tail = text.encode_prompt(head), text.encode_prompt(tail)
        else:
            self._head, self._tail = text.encode_prompt(self._prompt.system), []
        self._encode = lru_cache(maxsize=4096)(lambda words: tuple(text.encode_prompt(words)))
        # A sentence is a clip's text, then the context of those behind it.
        self._said = lru_cache(maxsize=4096)(lambda line: tuple(text.encode_said(line)))

    def tokens(self, clip: Clip, example: Example, context: Sequence[str] = ()) -> Tokens:
        """A clip's tokens.

        Args:
            clip: whose prompts count.
            example: what is asked, and the answer.
            context: the sentences before it.

        Raises:
            InputError: a prompt holds an unknown tag.
        """
        question = self._prompt.question if example.question is None else example.question
        start = self._encode(clip.encoder_prompt)
        start = (*start, *self._context(context, start))
        prompt = (*self._head, *start, *self._behind(start, question))
        # A task is no translation: the decoder's prompt, most often a language, is not its own.
        forced = clip.decoder_prompt if example.question is None else ""
        language = self._encode(forced)
        first, *others = (
            (*language, *self._said(answer), self._end)
            for answer in (example.answer, *example.others)
        )
        return Tokens(
            prompt=prompt,
            after=(*self._encode(self._prompt.after), *self._tail),
            forced=language,
            labels=first,
            others=tuple(others),
        )

    def _behind(self, before: Sequence[int], words: str) -> tuple[int, ...]:
        """Tokens of words that follow others."""
        return self._encode(self._space + words if before and words else words)

    def _context(self, lines: Sequence[str], before: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the sentences, those next to the clip first to be kept."""
        kept: list[tuple[int, ...]] = []
        room = self._max_context
        for line in reversed(lines):
            ids = self._said(self._space + line)
            if room is not None:
                room -= len(ids)
                if room < 0:
                    break
            kept.insert(0, ids)
        if not kept:
            return ()
        return (*self._behind(before, self._prompt.context), *(i for ids in kept for i in ids))


def _turns(text: Text, system: str) -> tuple[str, str]:
    """What a chat template writes before and behind a user's turn.

    Raises:
        InputError: no template, or one that cannot hold these turns.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _TURN})
    if getattr(text.tokenizer, "chat_template", None) is None:
        raise InputError(
            "`prompt.chat` is on, but the tokenizer has no chat template. Take a model that was"
            " tuned to chat, or say what you need in `prompt.system`, `question` and `after`."
        )
    template = _ONE_DAY + text.tokenizer.get_chat_template()
    try:
        written = text.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=template
        )
    except TemplateError as error:
        raise InputError(
            f"the tokenizer's chat template refuses these turns: {error}. If it knows no system's"
            " turn, leave `prompt.system` empty and say it in `prompt.question`."
        ) from None
    head, found, tail = str(written).partition(_TURN)
    if not found or _TURN in tail:
        raise InputError("the tokenizer's chat template does not repeat a user's turn just once")
    return head, tail
