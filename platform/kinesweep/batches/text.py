"""Text to tokens and back: what the platform asks of a tokenizer.

Tokenizers of pretrained models surround text with language codes and marks of their own. Here
nothing enters but what is written: a prompt is its tokens, a target is prompt, text and end of
sentence, whichever tokenizer stands behind. Texts, never prompts, may be lower-cased before they
are cut, and given case again after. Not for tokenizers that need code of their own.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kinesweep.batches.given import load_given
from kinesweep.batches.tokenizer import is_tag, load_pretrained, read_tokenizer, train_tokenizer
from kinesweep.batches.truecase import Truecaser, learn_truecaser
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.model import TokenizerConfig
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.store.index import ClipRecord

CASING = "casing.json"


class Text:
    """A tokenizer.

    Attributes:
        tokenizer: the Hugging Face tokenizer.
        lowercase: whether texts are lower-cased before they are cut.
        truecaser: gives case to what was generated, where it was learnt.

    Raises:
        InputError: the tokenizer has no end of sentence.
    """

    def __init__(
        self, tokenizer: Any, lowercase: bool = False, truecaser: Truecaser | None = None
    ) -> None:
        self.tokenizer, self.lowercase, self.truecaser = tokenizer, lowercase, truecaser
        if tokenizer.eos_token is None:
            raise InputError(
                f"the tokenizer {type(tokenizer).__name__} has no `eos_token`;"
                " name one in the `tokenizer_config.json` of the pretrained folder"
            )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Size and special ids.

        Without padding (Llama) the end of a sentence stands in for it, and masks tell them apart;
        without a beginning (T5) padding does.
        """
        known = self.tokenizer.get_vocab()
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        pad = eos if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        return Vocabulary(
            size=max(known.values()) + 1,
            pad_id=pad,
            bos_id=pad if bos is None else bos,
            eos_id=eos,
        )

    @cached_property
    def space(self) -> str:
        """What must begin words so that they stand apart from tokens before them.

        Nothing where the tokenizer marks beginnings itself (T5, Llama 2), else a space (Llama 3).
        """
        apart = [*self._encode("a"), *self._encode("b")]
        return "" if self._encode("a b") == apart else " "

    def encode_prompt(self, prompt: str) -> list[int]:
        """Tokens of a prompt, and nothing else.

        Raises:
            InputError: a tag such as `__asl__` is not in the vocabulary.
        """
        unknown = [word for word in prompt.split() if is_tag(word) and word not in self._known]
        if unknown:
            raise InputError(
                f"the prompt `{prompt}` holds `{unknown[0]}`, which the tokenizer does not know."
                " It knows the tags in prompts of the training split and those in"
                " `model.tokenizer.new_tokens`; name it there and train again."
            )
        return self._encode(prompt)

    def encode_target(self, prompt: str, text: str) -> list[int]:
        """Tokens of the decoder prompt, the text and the end of sentence.

        Raises:
            InputError: a tag of the prompt is not in the vocabulary.
        """
        return [*self.encode_prompt(prompt), *self.encode_said(text), self.vocabulary.eos_id]

    def encode_said(self, text: str) -> list[int]:
        """Tokens of a text as the corpus has it, in lower case where texts are."""
        return self._encode(text.lower() if self.lowercase else text)

    def decode(self, ids: Sequence[int], forced: Sequence[int] = (), truecase: bool = False) -> str:
        """The text of generated tokens, special tokens left out.

        Args:
            ids: generated tokens; what follows the end of sentence must be padding.
            forced: tokens of the decoder prompt. Tags vanish without it; it is needed where a
                prompt holds ordinary words.
            truecase: give the text case.

        Raises:
            InputError: it is to have case, which was not learnt.
        """
        if truecase and self.truecaser is None:
            raise InputError(
                "`generation.truecase` is on, but the model knows no case: it was trained without"
                " `model.tokenizer.lowercase`, or imported without texts"
            )
        kept = [int(i) for i in ids if int(i) not in self._special_ids]
        prompt = [int(i) for i in forced if int(i) not in self._special_ids]
        if prompt and kept[: len(prompt)] == prompt:
            kept = kept[len(prompt) :]
        text = str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))
        return self.truecaser.apply(text) if truecase and self.truecaser is not None else text

    def save(self, folder: Path) -> None:
        """Writes the tokenizer's files; equal tokenizers give equal files."""
        self.tokenizer.save_pretrained(str(folder))
        if self.lowercase:
            forms = None if self.truecaser is None else self.truecaser.forms
            plain = json.dumps({"forms": forms}, indent=1, ensure_ascii=False, sort_keys=True)
            (folder / CASING).write_text(plain + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Text":
        """Reads what `save` wrote.

        Raises:
            InputError: there is no tokenizer.
        """
        tokenizer = read_tokenizer(str(folder))
        if not (folder / CASING).is_file():
            return cls(tokenizer)
        forms = json.loads((folder / CASING).read_text(encoding="utf-8"))["forms"]
        return cls(tokenizer, lowercase=True, truecaser=None if forms is None else Truecaser(forms))

    @cached_property
    def _known(self) -> dict[str, int]:
        return dict(self.tokenizer.get_vocab())

    @cached_property
    def _special_ids(self) -> set[int]:
        added = self.tokenizer.added_tokens_decoder.items()
        return {*self.tokenizer.all_special_ids, *(i for i, token in added if token.special)}

    def _encode(self, text: str) -> list[int]:
        """Tokens of a text, without the marks that a tokenizer would put around it."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))


def build_text(
    config: TokenizerConfig,
    records: Sequence[ClipRecord],
    pretrained: str | None,
    spoken: Sequence[str] = (),
    revision: str | None = None,
    every_text: bool = False,
) -> Text:
    """The tokenizer of a run.

    Tags (`__x__`) in the prompts of the records are added to the vocabulary by themselves; other
    tokens that must stay whole are named in `new_tokens`.

    Args:
        config: trained, given, or that of the pretrained model.
        records: the training split.
        pretrained: folder or hub id of the pretrained model, if there is one.
        spoken: what else passes through it, such as the recipe's own prompts.
        revision: of the pretrained model's hub id; None: its newest.
        every_text: train it on all texts of a clip, not on the first alone.

    Raises:
        InputError: nothing to train on, a size that is too small, no tokenizer in the folder.
    """
    clips = [record.clip for record in records]
    prompts = [p for clip in clips for p in (clip.encoder_prompt, clip.decoder_prompt) if p]
    prompts += [words for words in spoken if words]
    texts = [text for clip in clips for text in (clip.texts if every_text else clip.texts[:1])]
    truecaser = learn_truecaser(texts) if config.lowercase else None
    if config.kind == "pretrained":
        if pretrained is None:
            raise InputError("tokenizer `pretrained` needs `model.backbone.pretrained`")
        tokenizer = load_pretrained(pretrained, config.new_tokens, prompts, revision)
    elif config.kind == "folder":
        tokenizer = load_given(config.path, config.new_tokens, prompts)
    elif not texts:
        raise InputError("the training split has no texts; a tokenizer cannot be trained on it")
    else:
        said = [text.lower() for text in texts] if config.lowercase else texts
        tokenizer = train_tokenizer(config, said, prompts)
    return Text(tokenizer, config.lowercase, truecaser)
