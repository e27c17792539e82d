"""Tokenizers: trained on the training split's texts, or taken from a pretrained folder.

Texts and prompts pass through here once a run; what comes out is a Hugging Face tokenizer. Training
is deterministic to the byte, because a run's identity would be worthless otherwise. The unigram
trainer of `tokenizers` is not (the order of its hash maps moves scores and the pieces that tie,
even on one thread), so SentencePiece chooses the unigram pieces (0.3 s for 7,000 sentences) and
`tokenizers` applies them. Spaces belong to what follows and punctuation stands alone, so that a
text without outer spaces and unknown characters decodes to itself, byte for byte; nothing is
lower-cased or normalised.
"""

import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.model import TrainedTokenizerConfig

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
_MARK = r"▁?(?:\p{P}|[$+<=>^`|~])"
_LONGEST_PIECE, _MAX_CANDIDATES = 16, 1_000_000
"""SentencePiece's own limits."""
_TAG = re.compile(r"__\S+__")


def is_tag(word: str) -> bool:
    """Whether a word has the form of a prompt's tag, such as `__asl__`."""
    return _TAG.fullmatch(word) is not None


def tags_in(prompts: Iterable[str]) -> list[str]:
    """The tags among the words of the prompts, each once, sorted."""
    return sorted({word for prompt in prompts for word in prompt.split() if is_tag(word)})


def train_tokenizer(
    config: TrainedTokenizerConfig, texts: Sequence[str], prompts: Sequence[str]
) -> Any:
    """A tokenizer for these texts and prompts; equal arguments give equal files.

    Every text counts as often as it stands there, every prompt once. Ids: the specials,
    `new_tokens`, the tags found in the prompts (added unasked), then the pieces.

    Raises:
        InputError: `size` does not even hold the characters of the texts.
    """
    distinct = sorted(set(prompts))
    reserved = list(dict.fromkeys([*SPECIALS, *config.new_tokens, *tags_in(distinct)]))
    words = _count_words([*texts, *distinct], reserved)
    size = config.size - len(reserved)
    _check_size(config, len(reserved), words)
    if config.algorithm == "unigram":
        model = _unigram(words, size, reserved)
    elif config.algorithm == "bpe":
        model = _bpe(words, config.size, reserved)
    else:
        model = _word_level(words, size, reserved)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    pad, bos, eos, unk = SPECIALS
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"pad_token": pad, "bos_token": bos, "eos_token": eos, "unk_token": unk},
        clean_up_tokenization_spaces=False,
    )
    add_tokens(wrapped, reserved[len(SPECIALS) :], distinct)
    return wrapped


def load_pretrained(
    name: str, new_tokens: Sequence[str], prompts: Sequence[str], revision: str | None = None
) -> Any:
    """The tokenizer of a pretrained model, with `new_tokens` and the prompts' tags added.

    Tokens that it has already keep their ids.

    Args:
        name: local folder or hub id.
        new_tokens: tokens to add.
        prompts: whose tags are added.
        revision: branch, tag or commit of a hub id; None: its newest.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    tokenizer = read_tokenizer(name, revision)
    _show_languages(tokenizer)
    add_tokens(tokenizer, [*new_tokens, *tags_in(prompts)], prompts)
    return tokenizer


def read_tokenizer(name: str, revision: str | None = None) -> Any:
    """The tokenizer of a local folder or a hub id, as it was saved; no code is taken from there.

    Raises:
        InputError: no tokenizer can be loaded from there.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        which = f" at the revision `{revision}`" if revision else ""
        raise InputError(
            f"`{name}`{which} gives no tokenizer: {reason}\nAllowed: a local folder with the"
            " tokenizer's files, or the id of a model on a hub that can be reached."
        ) from None
    for key in ("is_local", "local_files_only"):
        # How it was loaded; saving would write it into the tokenizer's files.
        tokenizer.init_kwargs.pop(key, None)
    return tokenizer


def add_tokens(tokenizer: Any, tokens: Iterable[str], prompts: Iterable[str]) -> None:
    """Adds tokens that are never cut; those in the vocabulary keep their ids.

    Tags and words of prompts are special: decoding leaves them out. Others are text.
    """
    in_prompts = {word for prompt in prompts for word in prompt.split()}
    for token in dict.fromkeys(tokens):
        special = is_tag(token) or token in in_prompts
        tokenizer.add_tokens(
            [AddedToken(token, normalized=False, special=special)], special_tokens=special
        )


def _show_languages(tokenizer: Any) -> None:
    """Puts an M2M-100 tokenizer's language codes into its vocabulary, at their own ids.

    Without a list in the saved files transformers 5 knows their ids, but cuts them into pieces and
    would give the same ids to new tokens.
    """
    languages: dict[str, int] = getattr(tokenizer, "lang_token_to_id", {})
    known = tokenizer.get_vocab()
    hidden = [
        token for token in sorted(languages, key=lambda t: languages[t]) if token not in known
    ]
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in hidden], True)
    wrong = [t for t in hidden if tokenizer.get_vocab()[t] != languages[t]]
    assert not wrong, f"language codes moved: {wrong}"


def _pre_tokenizer() -> Any:
    """Words and marks of punctuation, each with the space before it (as `▁`)."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(_MARK), "isolated"),
        ]
    )


def _count_words(texts: Iterable[str], reserved: Sequence[str]) -> Counter[str]:
    """How often each word stands in the texts, reserved tokens left out."""
    cut = re.compile("|".join(re.escape(t) for t in sorted(reserved, key=len, reverse=True)))
    pre_tokenizer = _pre_tokenizer()
    words: Counter[str] = Counter()
    for text, count in sorted(Counter(texts).items()):
        for part in cut.split(text):
            for word, _ in pre_tokenizer.pre_tokenize_str(part):
                words[word] += count
    return words


def _check_size(config: TrainedTokenizerConfig, num_reserved: int, words: Counter[str]) -> None:
    """Refuses a vocabulary that is smaller than the alphabet (whole words may fall out of it)."""
    characters = 0 if config.algorithm == "word" else len({c for word in words for c in word})
    if num_reserved + characters >= config.size:
        raise InputError(
            f"`model.tokenizer.size` is {config.size}, but the training texts hold {characters}"
            f" different characters, to which come {num_reserved} special tokens and tags;"
            f" give at least {num_reserved + characters + 1}"
        )


def _unigram(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """Pieces and their log probabilities, after Kudo (2018), arxiv.org/abs/1804.10959."""
    # A line is `word, tab, count`: blanks other than the space have no place in it.
    counts = {w: n for w, n in sorted(words.items()) if not re.search(r"\s", w)}
    written = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds.tsv"
        seeds.write_text("".join(f"{p}\t{n}\n" for p, n in _candidates(counts)), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{n}" for word, n in counts.items()),
            input_format="tsv",
            seed_sentencepieces_file=str(seeds),
            model_writer=written,
            # Its own <unk>, <s> and </s> count among the pieces.
            vocab_size=size + 3,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_number=False,
            num_threads=1,
            minloglevel=2,
        )
    trained = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [(trained.id_to_piece(i), trained.get_score(i)) for i in range(3, len(trained))]
    # Specials are cut out of a text before the model sees it; their score is never used.
    vocabulary = [(token, 0.0) for token in reserved] + pieces
    return models.Unigram(vocabulary, unk_id=SPECIALS.index("<unk>"))


def _candidates(words: Mapping[str, int]) -> list[tuple[str, int]]:
    """Parts of words and the letters they cover, best first: what training selects from.

    SentencePiece's own candidates must stand in two different words, so that most whole words are
    never tried: 22.4 tokens a PHOENIX sentence at size 2,000, where these give 15.6.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + _LONGEST_PIECE) + 1):
                counts[word[start:end]] += count
    covered = [(piece, n * len(piece)) for piece, n in counts.items() if n > 1 or len(piece) == 1]
    return sorted(covered, key=lambda item: (-item[1], item[0]))[:_MAX_CANDIDATES]


def _bpe(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """Byte-pair merges, over characters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(reserved), show_progress=False
    )
    lines = (word for word, count in sorted(words.items()) for _ in range(count))
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.model


def _word_level(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """The most frequent words."""
    ranked = sorted(words, key=lambda word: (-words[word], word))[:size]
    vocabulary = {token: index for index, token in enumerate([*reserved, *ranked])}
    return models.WordLevel(vocabulary, unk_token="<unk>")
