"""Words around the frames: in their order, in a chat's turns, refused where a template cannot."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.store.format.index import ClipRecord

CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    "[{{ m.role }}]{{ ' ' * (m.role == 'system') }}{{ m.content }}[end]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
ROLES = ("[user]", "[system]", "[assistant]", "[end]")
CLIP = Clip("a", "train", "", texts=("rain falls",), encoder_prompt="__asl__")
WORDS = PromptConfig(
    system="You translate.", context="Before:", question="What is signed?", suffix="Answer:"
)


def tokenizer(template: str | None = CHAT) -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=64, new_tokens=ROLES)
    spoken = [WORDS.system, WORDS.context, WORDS.question, WORDS.suffix, "sun shines"]
    text = build_tokenizer(config, [ClipRecord(CLIP, {})], None, spoken)
    text.tokenizer.chat_template = template
    return text


def pieces(text: TextTokenizer, prompt: PromptConfig, *context: str) -> tuple[str, str]:
    """What stands before and behind the frames."""
    tokens = PromptBuilder(text, PromptSettings(prompt)).build_tokens(
        CLIP, Example.from_clip(CLIP), context
    )
    read: Any = text.tokenizer.convert_ids_to_tokens
    before, after = (" ".join(read(ids)) for ids in (tokens.prompt, tokens.suffix))
    return before.replace("▁", ""), after.replace("▁", "")


def test_without_words_only_the_corpus_speaks() -> None:
    assert pieces(tokenizer(), PromptConfig()) == ("__asl__", "")


def test_words_stand_in_their_order() -> None:
    before, after = pieces(tokenizer(), WORDS, "sun shines", "rain falls")
    assert before == ("You translate . __asl__ Before : sun shines rain falls What is signed ?")
    assert after == "Answer :"


def test_words_of_bytes_stand_apart() -> None:
    """A tokenizer such as Llama 3's, for which a word begins with its space."""
    marks = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    letters = {letter: n for n, letter in enumerate(pre_tokenizers.ByteLevel.alphabet(), 1)}
    bare = Tokenizer(models.BPE(vocab={"</s>": 0, **letters}, merges=[]))
    bare.pre_tokenizer, bare.decoder = marks, decoders.ByteLevel()
    text = TextTokenizer(PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="</s>"))
    words = PromptConfig(context="Before:", question="Translate:")
    prompter = PromptBuilder(text, PromptSettings(words, ContextConfig(window=2)))
    example = Example("No.")
    said = prompter.build_tokens(Clip("a", "train", ""), example, ["She left.", "He came."])
    assert text.decode(said.prompt) == "Before: She left. He came. Translate:"
    assert text.decode(said.labels[:-1]) == "No."
    alone = prompter.build_tokens(Clip("a", "train", ""), example)
    assert text.decode(alone.prompt) == "Translate:"


def test_a_chat_is_one_turn_of_the_user() -> None:
    chat = WORDS.model_copy(update={"chat": True})
    before, after = pieces(tokenizer(), chat, "sun shines")
    assert before == (
        "<s> [system] You translate . [end] [user] __asl__ Before : sun shines What is signed ?"
    )
    assert after == "Answer : [end] [assistant]"


def test_a_chat_is_the_same_on_each_day() -> None:
    """Llama 3.2's template tells the model what day it is."""
    dated = tokenizer("{{ strftime_now('%d %b %Y') }} {{ messages[-1].content }}")
    prompt = (
        PromptBuilder(dated, PromptSettings(PromptConfig(chat=True)))
        .build_tokens(CLIP, Example(""))
        .prompt
    )
    assert list(prompt[:-1]) == dated.encode_prompt("26 Jul 2024 ")


@pytest.mark.parametrize(
    ("template", "error"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('no system here') }}", "rejects these turns: no system here"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "exactly once"),
        ("[user]", "exactly once"),
    ],
)
def test_templates_that_cannot(template: str | None, error: str) -> None:
    with pytest.raises(InputError, match=error):
        PromptBuilder(tokenizer(template), PromptSettings(WORDS.model_copy(update={"chat": True})))
