"""Tokenizers: trained on the texts of the training split, or loaded from a pretrained folder.

The result is a Hugging Face tokenizer. Training is deterministic to the byte, because the identity
of a run depends on it. The unigram trainer of `tokenizers` is not deterministic (the order
of its hash maps changes scores and the choice between tied pieces, even with one thread), so
SentencePiece selects the unigram pieces (0.3 s for 7,000 sentences) and `tokenizers` applies them.
A space belongs to the word after it and punctuation marks are separate, so a text without outer
spaces and unknown characters decodes to itself, byte for byte. Nothing is lowercased or normalized.
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

from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import InputError

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
# A punctuation mark, with the space before it. The listed ASCII symbols are not in class P.
_PUNCTUATION = r"▁?(?:\p{P}|[$+<=>^`|~])"
# SentencePiece's own limits.
_MAX_PIECE_LENGTH, _MAX_CANDIDATES = 16, 1_000_000
_TAG = re.compile(r"__\S+__")


def is_tag(word: str) -> bool:
    """Return whether a word has the form of a prompt tag, such as `__asl__`."""
    return _TAG.fullmatch(word) is not None


def find_tags(prompts: Iterable[str]) -> list[str]:
    """Find the distinct tags among the words of the prompts, sorted."""
    return sorted({word for prompt in prompts for word in prompt.split() if is_tag(word)})


def train_tokenizer(
    config: TrainedTokenizerConfig, texts: Sequence[str], prompts: Sequence[str]
) -> Any:
    """Train a tokenizer on these texts and prompts; equal arguments give equal files.

    Texts count as often as they occur, each distinct prompt once. The ids are assigned in this
    order: special tokens, `new_tokens`, tags of the prompts (added automatically), pieces.

    Raises:
        InputError: If `size` is too small for the characters of the texts.
    """
    distinct = sorted(set(prompts))
    reserved = list(dict.fromkeys([*SPECIAL_TOKENS, *config.new_tokens, *find_tags(distinct)]))
    words = _count_words([*texts, *distinct], reserved)
    size = config.size - len(reserved)
    _check_vocab_size(config, len(reserved), words)
    if config.algorithm == "unigram":
        model = _train_unigram(words, size, reserved)
    elif config.algorithm == "bpe":
        # The BPE trainer counts reserved tokens as part of the size.
        model = _train_bpe(words, config.size, reserved)
    else:
        model = _build_word_level(words, size, reserved)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _build_pre_tokenizer()
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    pad, bos, eos, unk = SPECIAL_TOKENS
    fast_tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"pad_token": pad, "bos_token": bos, "eos_token": eos, "unk_token": unk},
        clean_up_tokenization_spaces=False,
    )
    add_tokens(fast_tokenizer, reserved[len(SPECIAL_TOKENS) :], distinct)
    return fast_tokenizer


def load_pretrained_tokenizer(
    name: str, new_tokens: Sequence[str], prompts: Sequence[str], revision: str | None = None
) -> Any:
    """Load the tokenizer of a pretrained model and add `new_tokens` and the prompts' tags.

    Tokens that it already has keep their ids.

    Args:
        name: Local folder or hub id.
        new_tokens: Tokens to add.
        prompts: Prompts whose tags are added.
        revision: Branch, tag or commit of a hub id; None: the latest.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    tokenizer = read_tokenizer(name, revision)
    # Before tokens are added, which would otherwise get the ids of the language codes.
    _add_language_codes(tokenizer)
    add_tokens(tokenizer, [*new_tokens, *find_tags(prompts)], prompts)
    return tokenizer


def read_tokenizer(name: str, revision: str | None = None) -> Any:
    """Load the tokenizer of a local folder or hub id as it was saved, without executing its code.

    Raises:
        InputError: If no tokenizer can be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        location = f" at the revision `{revision}`" if revision else ""
        raise InputError(
            f"`{name}`{location} has no tokenizer that can be loaded: {reason}\nAllowed: a local"
            " folder with the tokenizer's files, or the id of a model on a reachable hub."
        ) from None
    for key in ("is_local", "local_files_only"):
        # These describe how it was loaded; `save_pretrained` would write them into its files.
        tokenizer.init_kwargs.pop(key, None)
    return tokenizer


def add_tokens(tokenizer: Any, tokens: Iterable[str], prompts: Iterable[str]) -> None:
    """Add tokens that are never split; tokens in the vocabulary keep their ids.

    Tags and words of prompts become special tokens, which decoding leaves out. Others are text.
    """
    in_prompts = {word for prompt in prompts for word in prompt.split()}
    for token in dict.fromkeys(tokens):
        # One by one: `add_tokens` has a single value of `special_tokens` for all of its tokens.
        special = is_tag(token) or token in in_prompts
        tokenizer.add_tokens(
            [AddedToken(token, normalized=False, special=special)], special_tokens=special
        )


def _add_language_codes(tokenizer: Any) -> None:
    """Add an M2M-100 tokenizer's language codes to its vocabulary, at their own ids.

    If the saved files do not list them, transformers 5 knows their ids but splits the codes into
    pieces, and would assign the same ids to new tokens.
    """
    languages: dict[str, int] = getattr(tokenizer, "lang_token_to_id", {})
    vocab = tokenizer.get_vocab()
    missing = [
        token for token in sorted(languages, key=lambda t: languages[t]) if token not in vocab
    ]
    # In the order of their ids, because ids are assigned consecutively.
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in missing], True)
    misplaced = [t for t in missing if tokenizer.get_vocab()[t] != languages[t]]
    assert not misplaced, f"language codes moved: {misplaced}"


def _build_pre_tokenizer() -> Any:
    """Build a splitter into words and punctuation marks, each with the space before it (`▁`)."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(_PUNCTUATION), "isolated"),
        ]
    )


def _count_words(texts: Iterable[str], reserved: Sequence[str]) -> Counter[str]:
    """Count the words of the texts, without reserved tokens."""
    # Longest first, so that a token is not split by another that is its prefix.
    separator = re.compile("|".join(re.escape(t) for t in sorted(reserved, key=len, reverse=True)))
    pre_tokenizer = _build_pre_tokenizer()
    words: Counter[str] = Counter()
    # Sorted, so that the result does not depend on the order of the texts.
    for text, count in sorted(Counter(texts).items()):
        for part in separator.split(text):
            for word, _ in pre_tokenizer.pre_tokenize_str(part):
                words[word] += count
    return words


def _check_vocab_size(
    config: TrainedTokenizerConfig, num_reserved: int, words: Counter[str]
) -> None:
    """Check that the vocabulary is larger than the alphabet; whole words may be left out of it."""
    characters = 0 if config.algorithm == "word" else len({c for word in words for c in word})
    if num_reserved + characters >= config.size:
        raise InputError(
            f"`model.tokenizer.size` is {config.size}, but the training texts contain {characters}"
            f" different characters, and {num_reserved} special tokens and tags are added;"
            f" set it to at least {num_reserved + characters + 1}"
        )


def _train_unigram(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """Train a unigram model: pieces with log probabilities (Kudo 2018, arXiv:1804.10959)."""
    # The input format is `word, tab, count` per line, so whitespace cannot be part of a word.
    counts = {w: n for w, n in sorted(words.items()) if not re.search(r"\s", w)}
    model_file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds.tsv"
        seeds.write_text(
            "".join(f"{p}\t{n}\n" for p, n in _find_candidate_pieces(counts)), encoding="utf-8"
        )
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{n}" for word, n in counts.items()),
            input_format="tsv",
            seed_sentencepieces_file=str(seeds),
            model_writer=model_file,
            # SentencePiece counts its own <unk>, <s> and </s> among the pieces.
            vocab_size=size + 3,
            # Small corpora have fewer pieces than requested.
            hard_vocab_limit=False,
            character_coverage=1.0,
            # Words are already split: no normalization and no further splitting.
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_number=False,
            num_threads=1,
            minloglevel=2,
        )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_file.getvalue())
    # The first three pieces are SentencePiece's special tokens.
    pieces = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(3, len(processor))]
    # Reserved tokens are split off before the model sees a text, so their scores are never used.
    vocabulary = [(token, 0.0) for token in reserved] + pieces
    return models.Unigram(vocabulary, unk_id=SPECIAL_TOKENS.index("<unk>"))


def _find_candidate_pieces(words: Mapping[str, int]) -> list[tuple[str, int]]:
    """Find candidate pieces with their coverage (count times length), best first.

    SentencePiece's own candidates must occur in two different words, so most whole words are never
    candidates: 22.4 tokens per PHOENIX sentence at size 2,000, compared with 15.6 with these.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + _MAX_PIECE_LENGTH) + 1):
                counts[word[start:end]] += count
    # Single characters are always kept, so that every word can be represented.
    coverage = [(piece, n * len(piece)) for piece, n in counts.items() if n > 1 or len(piece) == 1]
    return sorted(coverage, key=lambda item: (-item[1], item[0]))[:_MAX_CANDIDATES]


def _train_bpe(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """Train a BPE model: byte-pair merges over characters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(reserved), show_progress=False
    )
    # The trainer accepts no counts, so words are repeated; sorted order makes ties deterministic.
    lines = (word for word, count in sorted(words.items()) for _ in range(count))
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer.model


def _build_word_level(words: Counter[str], size: int, reserved: Sequence[str]) -> Any:
    """Build a word-level model of the most frequent words."""
    ranked = sorted(words, key=lambda word: (-words[word], word))[:size]
    vocabulary = {token: index for index, token in enumerate([*reserved, *ranked])}
    return models.WordLevel(vocabulary, unk_token="<unk>")
