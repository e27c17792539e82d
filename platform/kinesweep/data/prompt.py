"""Prompts: the text around a clip's frames, from prompt settings, corpus, context and question.

In order: system prompt, the clip's own encoder prompt, context, question; frames; suffix. Each
piece is tokenized separately, so a long context never changes the tokens of the question. With a
chat template the whole prompt is one user turn, surrounded by the template's own tokens.
"""

from collections.abc import Sequence
from functools import lru_cache

from jinja2 import TemplateError

from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.collate import Tokens
from kinesweep.data.task_sampling import Example
from kinesweep.data.text_tokenizer import TextTokenizer

# Placeholder for the user turn while the template is rendered.
_TURN = "@@turn@@"
# Prepended to a template. The template of Llama 3.2 inserts the current date, so a run resumed the
# next day, or an exported bundle, would read another prompt. This is the date it uses if it knows
# none.
_ONE_DAY = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"


class PromptBuilder:
    """A builder of a clip's tokens.

    Args:
        text: Tokenizer.
        prompt_settings: Prompt and context settings.

    Raises:
        InputError: If a chat is requested and the tokenizer has no suitable template.
    """

    def __init__(
        self, text: TextTokenizer, prompt_settings: PromptSettings = PromptSettings()
    ) -> None:
        self._prompt, self._end = prompt_settings.prompt, text.vocabulary.eos_id
        self._max_context, self._space = prompt_settings.context.max_tokens, text.space
        if self._prompt.chat:
            head, tail = _turns(text, self._prompt.system)
            self._head, self._tail = text.encode_prompt(head), text.encode_prompt(tail)
        else:
            self._head, self._tail = text.encode_prompt(self._prompt.system), []
        self._encode = lru_cache(maxsize=4096)(lambda words: tuple(text.encode_prompt(words)))
        # A sentence is used as a clip's label and then as context of the clips that follow.
        self._said = lru_cache(maxsize=4096)(lambda line: tuple(text.encode_text(line)))

    def tokens(self, clip: Clip, example: Example, context: Sequence[str] = ()) -> Tokens:
        """Return a clip's tokens.

        Args:
            clip: Clip with its encoder and decoder prompts.
            example: Question and answers.
            context: Preceding sentences.

        Raises:
            InputError: If a prompt contains an unknown tag.
        """
        question = self._prompt.question if example.question is None else example.question
        start = self._encode(clip.encoder_prompt)
        start = (*start, *self._context(context, start))
        prompt = (*self._head, *start, *self._behind(start, question))
        # The decoder prompt, usually a language, applies to translations and not to other tasks.
        forced = clip.decoder_prompt if example.question is None else ""
        language = self._encode(forced)
        first, *others = (
            (*language, *self._said(answer), self._end)
            for answer in (example.answer, *example.others)
        )
        return Tokens(
            prompt=prompt,
            after=(*self._encode(self._prompt.suffix), *self._tail),
            forced=language,
            labels=first,
            others=tuple(others),
        )

    def _behind(self, before: Sequence[int], words: str) -> tuple[int, ...]:
        """Return the tokens of words that follow other tokens, separated from them."""
        return self._encode(self._space + words if before and words else words)

    def _context(self, lines: Sequence[str], before: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of the context; sentences closest to the clip are kept first."""
        # From the last sentence backwards, until the token limit is reached.
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


def _turns(text: TextTokenizer, system: str) -> tuple[str, str]:
    """Return what a chat template writes before and after a user turn.

    Raises:
        InputError: If there is no template, or it cannot represent these turns.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _TURN})
    if getattr(text.tokenizer, "chat_template", None) is None:
        raise InputError(
            "`prompt.chat` is on, but the tokenizer has no chat template. Use a chat-tuned model,"
            " or use `prompt.system`, `question` and `after` instead."
        )
    template = _ONE_DAY + text.tokenizer.get_chat_template()
    try:
        written = text.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=template
        )
    except TemplateError as error:
        raise InputError(
            f"the tokenizer's chat template rejects these turns: {error}. If it does not support a"
            " system turn, leave `prompt.system` empty and use `prompt.question`."
        ) from None
    # Split at the placeholder; it must occur exactly once, or frames would have no clear position.
    head, found, tail = str(written).partition(_TURN)
    if not found or _TURN in tail:
        raise InputError("the tokenizer's chat template must contain the user turn exactly once")
    return head, tail
