"""Prompts: the text around a clip's frames, from prompt settings, corpus, context and question.

The order is system prompt, the clip's own encoder prompt, context, question, frames, suffix. Each
piece is tokenized separately, so a long context never changes the tokens of the question. With a
chat template the whole prompt is one user turn, surrounded by the template's own tokens.
"""

from collections.abc import Sequence
from functools import lru_cache

from jinja2 import TemplateError

from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.collate import ClipTokens
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import TextTokenizer

# Placeholder for the user turn while the template is rendered.
_TURN_PLACEHOLDER = "@@turn@@"
# Prepended to a template. The template of Llama 3.2 inserts the current date, so a run resumed the
# next day, or an exported bundle, would read another prompt. This is the date it uses if it knows
# none.
_FIXED_DATE_MACRO = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"


class PromptBuilder:
    """A builder of the prompt and label tokens of clips.

    Args:
        tokenizer: Tokenizer.
        prompt_settings: Prompt and context settings.

    Raises:
        InputError: If a chat is requested and the tokenizer has no suitable template, or if the
            system prompt contains an unknown tag.
    """

    def __init__(
        self, tokenizer: TextTokenizer, prompt_settings: PromptSettings = PromptSettings()
    ) -> None:
        self._prompt, self._eos_id = prompt_settings.prompt, tokenizer.vocabulary.eos_id
        self._max_context, self._space = (
            prompt_settings.context.max_tokens,
            tokenizer.word_separator,
        )
        if self._prompt.chat:
            before_turn, after_turn = _render_chat_template(tokenizer, self._prompt.system)
            self._prefix_ids, self._suffix_ids = (
                tokenizer.encode_prompt(before_turn),
                tokenizer.encode_prompt(after_turn),
            )
        else:
            self._prefix_ids, self._suffix_ids = tokenizer.encode_prompt(self._prompt.system), []
        self._encode_prompt = lru_cache(maxsize=4096)(
            lambda prompt: tuple(tokenizer.encode_prompt(prompt))
        )
        # A sentence is used as a clip's label and then as context of the clips that follow.
        self._encode_text = lru_cache(maxsize=4096)(lambda text: tuple(tokenizer.encode_text(text)))

    def build_tokens(self, clip: Clip, example: Example, context: Sequence[str] = ()) -> ClipTokens:
        """Build the prompt and label tokens of a clip.

        Args:
            clip: Clip with its encoder and decoder prompts.
            example: Question and answers.
            context: Preceding sentences, the earliest first.

        Raises:
            InputError: If a prompt contains an unknown tag.
        """
        question = self._prompt.question if example.question is None else example.question
        preceding_ids = self._encode_prompt(clip.encoder_prompt)
        preceding_ids = (*preceding_ids, *self._encode_context(context, preceding_ids))
        question_ids = self._encode_following(preceding_ids, question)
        # The decoder prompt, usually a language, applies to translations and not to other tasks.
        decoder_prompt = clip.decoder_prompt if example.question is None else ""
        forced_ids = self._encode_prompt(decoder_prompt)
        labels, *alternative_labels = (
            (*forced_ids, *self._encode_text(answer), self._eos_id)
            for answer in (example.answer, *example.other_answers)
        )
        return ClipTokens(
            prompt=(*self._prefix_ids, *preceding_ids, *question_ids),
            suffix=(*self._encode_prompt(self._prompt.suffix), *self._suffix_ids),
            forced=forced_ids,
            labels=labels,
            alternative_labels=tuple(alternative_labels),
        )

    def _encode_following(self, preceding_ids: Sequence[int], prompt: str) -> tuple[int, ...]:
        """Encode a prompt that follows other tokens, with the space that separates it from them.

        Raises:
            InputError: If the prompt contains an unknown tag.
        """
        return self._encode_prompt(self._space + prompt if preceding_ids and prompt else prompt)

    def _encode_context(
        self, sentences: Sequence[str], preceding_ids: Sequence[int]
    ) -> tuple[int, ...]:
        """Encode the context sentences after the prompt `prompt.context` that introduces them.

        The earliest sentences are left out as long as all together exceed `context.max_tokens`. If
        none is left, the result is empty.

        Args:
            sentences: Preceding sentences, the earliest first.
            preceding_ids: Tokens before the context.

        Raises:
            InputError: If `prompt.context` contains an unknown tag.
        """
        # From the last sentence backwards, until the token limit is reached.
        sentence_ids: list[tuple[int, ...]] = []
        remaining_tokens = self._max_context
        for sentence in reversed(sentences):
            ids = self._encode_text(self._space + sentence)
            if remaining_tokens is not None:
                remaining_tokens -= len(ids)
                if remaining_tokens < 0:
                    break
            sentence_ids.insert(0, ids)
        if not sentence_ids:
            return ()
        return (
            *self._encode_following(preceding_ids, self._prompt.context),
            *(i for ids in sentence_ids for i in ids),
        )


def _render_chat_template(tokenizer: TextTokenizer, system: str) -> tuple[str, str]:
    """Render the tokenizer's chat template around a placeholder for the user turn.

    Args:
        tokenizer: Tokenizer with a chat template.
        system: System turn; empty for none.

    Returns:
        The text before and the text after the user turn.

    Raises:
        InputError: If there is no template, it rejects a turn, or it does not contain the user turn
            exactly once.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _TURN_PLACEHOLDER})
    if getattr(tokenizer.tokenizer, "chat_template", None) is None:
        raise InputError(
            "`prompt.chat` is on, but the tokenizer has no chat template. Use a chat-tuned model,"
            " or use `prompt.system`, `question` and `suffix` instead."
        )
    template = _FIXED_DATE_MACRO + tokenizer.tokenizer.get_chat_template()
    try:
        rendered = tokenizer.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=template
        )
    except TemplateError as error:
        raise InputError(
            f"the tokenizer's chat template rejects these turns: {error}. If it does not support a"
            " system turn, leave `prompt.system` empty and use `prompt.question`."
        ) from None
    # Split at the placeholder; it must occur exactly once, or frames would have no clear position.
    before_turn, separator, after_turn = str(rendered).partition(_TURN_PLACEHOLDER)
    if not separator or _TURN_PLACEHOLDER in after_turn:
        raise InputError("the tokenizer's chat template must contain the user turn exactly once")
    return before_turn, after_turn
