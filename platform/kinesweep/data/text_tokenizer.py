"""Tokenization: from text to tokens and back, with the same conventions for every tokenizer.

Pretrained tokenizers surround text with language codes and special tokens of their own. Here
nothing is added implicitly: a prompt is just its tokens, and a target is prompt, text and end of
sentence, whichever tokenizer is used. Texts, but not prompts, can be lowercased before tokenization
and truecased after generation. Tokenizers that require custom code are not supported.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kinesweep.config.recipe.model import TokenizerConfig
from kinesweep.core.errors import InputError
from kinesweep.core.vocabulary import Vocabulary, compute_tokens_sha256
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.data.truecase import Truecaser, learn_truecaser
from kinesweep.features.texts.hf_tokenizer import (
    is_tag,
    load_pretrained_tokenizer,
    read_tokenizer,
)
from kinesweep.store.format.index import ClipRecord

CASING_FILE = "casing.json"


class TextTokenizer:
    """A wrapper of a Hugging Face tokenizer that adds no special tokens implicitly.

    Attributes:
        tokenizer: Hugging Face tokenizer.
        lowercase: Whether texts are lowercased before tokenization.
        truecaser: Truecaser for generated text; None if none was learned.

    Raises:
        InputError: If the tokenizer has no end-of-sentence token.
    """

    def __init__(
        self, tokenizer: Any, lowercase: bool = False, truecaser: Truecaser | None = None
    ) -> None:
        self.tokenizer, self.lowercase, self.truecaser = tokenizer, lowercase, truecaser
        if tokenizer.eos_token is None:
            raise InputError(
                f"the tokenizer {type(tokenizer).__name__} has no `eos_token`;"
                " set one in the `tokenizer_config.json` of the pretrained folder"
            )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Return the size of the vocabulary and the ids of its special tokens.

        Without a padding token (Llama) the end of sentence replaces it, and masks distinguish the
        two; without a beginning of sentence (T5) padding replaces it.
        """
        bos_id, eos_id = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        pad_id = eos_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        return Vocabulary(
            # Ids can have gaps, so the size is not the number of tokens.
            size=max(self._ids_by_token.values()) + 1,
            pad_id=pad_id,
            bos_id=pad_id if bos_id is None else bos_id,
            eos_id=eos_id,
        )

    @cached_property
    def unknown_id(self) -> int | None:
        """Return the id of the unknown token; None if the tokenizer has none of its own.

        GPT-2 uses its end of sentence as unknown token, and some Llama tokenizers pad with it.
        """
        vocabulary, unknown_id = self.vocabulary, self.tokenizer.unk_token_id
        has_other_role = unknown_id in (vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id)
        return None if has_other_role else unknown_id

    @cached_property
    def word_separator(self) -> str:
        """Return the prefix that separates a text from preceding tokens.

        It is empty if the tokenizer marks word beginnings itself (T5, Llama 2), otherwise a space
        (Llama 3).
        """
        separate_ids = [*self._encode("a"), *self._encode("b")]
        return "" if self._encode("a b") == separate_ids else " "

    def compute_tokens_sha256(self, end: int) -> str:
        """Compute the SHA-256 of the tokens with ids below `end`, 64 hexadecimal digits."""
        return compute_tokens_sha256(
            (token, token_id) for token, token_id in self._ids_by_token.items() if token_id < end
        )

    def encode_prompt(self, prompt: str) -> list[int]:
        """Encode a prompt to token ids, without special tokens around it.

        Raises:
            InputError: If a tag such as `__asl__` is not in the vocabulary.
        """
        # An unknown tag would be split into pieces without an error.
        unknown = [
            word for word in prompt.split() if is_tag(word) and word not in self._ids_by_token
        ]
        if unknown:
            raise InputError(
                f"the prompt `{prompt}` contains `{unknown[0]}`, which the tokenizer does not know."
                " It knows the tags in prompts of the training split and those in"
                " `model.tokenizer.new_tokens`; add it there and train again."
            )
        return self._encode(prompt)

    def encode_target(self, prompt: str, text: str) -> list[int]:
        """Encode a training target to token ids: decoder prompt, text and end of sentence.

        Raises:
            InputError: If a tag of the prompt is not in the vocabulary.
        """
        return [*self.encode_prompt(prompt), *self.encode_text(text), self.vocabulary.eos_id]

    def encode_text(self, text: str) -> list[int]:
        """Encode a text of the corpus to token ids, after lowercasing if `lowercase` is set."""
        return self._encode(text.lower() if self.lowercase else text)

    def decode(
        self, ids: Sequence[int], forced_ids: Sequence[int] = (), truecase: bool = False
    ) -> str:
        """Decode generated token ids to text, without special tokens.

        An unknown token stays in the text as `<unk>`, or whatever the tokenizer calls it: left
        out, a wrong sentence could look like a right one.

        Args:
            ids: Generated token ids; ids after the end of sentence must be padding.
            forced_ids: Token ids of the decoder prompt. They are removed from the start of `ids`;
                tags are removed in any case, so this is needed only for prompts with ordinary
                words.
            truecase: Whether to restore the case of the text.

        Raises:
            InputError: If `truecase` is requested and no truecaser was learned.
        """
        if truecase and self.truecaser is None:
            raise InputError(
                "`generation.truecase` is on, but the model has no truecaser: it was trained"
                " without `model.tokenizer.lowercase`, or imported without texts"
            )
        token_ids = [int(i) for i in ids if int(i) not in self._special_ids]
        # Both lists lose their special ids, so that the prompt is still a prefix of the output.
        prompt_ids = [int(i) for i in forced_ids if int(i) not in self._special_ids]
        if prompt_ids and token_ids[: len(prompt_ids)] == prompt_ids:
            token_ids = token_ids[len(prompt_ids) :]
        text = str(self.tokenizer.decode(token_ids, clean_up_tokenization_spaces=False))
        if not truecase or self.truecaser is None:
            return text
        text = self.truecaser.restore_case(text)
        if self.unknown_id is not None:
            # The truecaser takes the name of the unknown token for a word.
            name = self.tokenizer.unk_token
            text = re.sub(re.escape(name), lambda _: name, text, flags=re.IGNORECASE)
        return text

    def save(self, folder: Path) -> None:
        """Save the tokenizer to a folder, with its casing if it lowercases texts.

        Equal tokenizers give equal files.
        """
        self.tokenizer.save_pretrained(str(folder))
        if self.lowercase:
            forms = None if self.truecaser is None else self.truecaser.forms
            content = json.dumps({"forms": forms}, indent=1, ensure_ascii=False, sort_keys=True)
            (folder / CASING_FILE).write_text(content + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TextTokenizer":
        """Load a tokenizer from a folder that `save` wrote.

        Raises:
            InputError: If the folder has no tokenizer that can be loaded, or the tokenizer has no
                end-of-sentence token.
        """
        tokenizer = read_tokenizer(str(folder))
        # The file exists only for tokenizers that lowercase texts.
        if not (folder / CASING_FILE).is_file():
            return cls(tokenizer)
        forms = json.loads((folder / CASING_FILE).read_text(encoding="utf-8"))["forms"]
        return cls(tokenizer, lowercase=True, truecaser=None if forms is None else Truecaser(forms))

    @cached_property
    def _ids_by_token(self) -> dict[str, int]:
        """Return token → id for the whole vocabulary."""
        return dict(self.tokenizer.get_vocab())

    @cached_property
    def _special_ids(self) -> set[int]:
        """Return the ids that are left out of decoded text.

        They are those of the special tokens, except the unknown one, and of added tokens that are
        marked as special.
        """
        added_tokens = self.tokenizer.added_tokens_decoder.items()
        added_ids = (token_id for token_id, token in added_tokens if token.special)
        return {*self.tokenizer.all_special_ids, *added_ids} - {self.unknown_id}

    def _encode(self, text: str) -> list[int]:
        """Encode a text to token ids, without special tokens around it."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))


def build_tokenizer(
    config: TokenizerConfig,
    records: Sequence[ClipRecord],
    pretrained_name: str | None,
    extra_texts: Sequence[str] = (),
    revision: str | None = None,
    use_all_references: bool = False,
) -> TextTokenizer:
    """Build the tokenizer of a run: train it, or load one and add the missing tags to it.

    Tags (`__x__`) in the prompts of the records and in `extra_texts` are added to the vocabulary
    automatically; other tokens that must not be split are listed in `config.new_tokens`. If texts
    are lowercased, a truecaser is learned as well.

    Args:
        config: Tokenizer config: trained, from a folder, or that of the pretrained model.
        records: Clips of the training split.
        pretrained_name: Folder or hub id of the pretrained model; None if there is none.
        extra_texts: Further texts that are tokenized as prompts, such as the recipe's own prompts.
        revision: Revision of the pretrained model's hub id; None for the latest.
        use_all_references: Whether to train on all references of a clip instead of the first one.

    Raises:
        InputError: If there are no texts to train on, the size is too small, `pretrained_name` is
            needed but None, the tokenizer cannot be loaded, or it has no end-of-sentence token.
    """
    clips = [record.clip for record in records]
    prompts = [text for clip in clips for text in (clip.encoder_prompt, clip.decoder_prompt)]
    prompts = [text for text in [*prompts, *extra_texts] if text]
    texts = [
        text
        for clip in clips
        for text in (clip.training_texts if use_all_references else clip.texts[:1])
    ]
    # The truecaser needs the texts in their original case.
    truecaser = learn_truecaser(texts) if config.lowercase else None
    if config.kind == "pretrained":
        if pretrained_name is None:
            raise InputError("tokenizer `pretrained` needs `model.backbone.pretrained`")
        tokenizer = load_pretrained_tokenizer(pretrained_name, config.new_tokens, prompts, revision)
    elif config.kind == "folder":
        tokenizer = load_external_tokenizer(config.path, config.new_tokens, prompts)
    elif not texts:
        raise InputError("the training split has no texts; a tokenizer cannot be trained on it")
    else:
        training_texts = [text.lower() for text in texts] if config.lowercase else texts
        tokenizer = train_tokenizer(config, training_texts, prompts)
    return TextTokenizer(tokenizer, config.lowercase, truecaser)
