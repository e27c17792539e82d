"""Models of trained tokenizers: unigram, BPE and word-level models, built from word counts.

Training is deterministic to the byte. The unigram trainer of `tokenizers` is not deterministic (the
order of its hash maps changes scores and the choice between tied pieces, even with one thread), so
SentencePiece selects the unigram pieces (0.3 s for 7,000 sentences) and `tokenizers` applies them.
"""

import io
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, models, trainers

# Padding, beginning of sentence, end of sentence and unknown token, in the order of their ids.
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
# SentencePiece's own limits.
_MAX_PIECE_LENGTH, _MAX_CANDIDATES = 16, 1_000_000


def train_unigram(word_counts: Counter[str], num_pieces: int, reserved: Sequence[str]) -> Any:
    """Train a unigram model: pieces with log probabilities (Kudo 2018, arXiv:1804.10959).

    Args:
        word_counts: Word → number of occurrences. Words that contain whitespace are ignored.
        num_pieces: Maximum number of pieces besides the reserved tokens.
        reserved: Tokens at the start of the vocabulary.
    """
    # The input format is `word, tab, count` per line, so whitespace cannot be part of a word.
    counts = {
        word: count for word, count in sorted(word_counts.items()) if not re.search(r"\s", word)
    }
    model_file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        seed_file = Path(folder) / "seeds.tsv"
        rows = (f"{piece}\t{coverage}\n" for piece, coverage in _find_candidate_pieces(counts))
        seed_file.write_text("".join(rows), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{count}" for word, count in counts.items()),
            input_format="tsv",
            seed_sentencepieces_file=str(seed_file),
            model_writer=model_file,
            # SentencePiece counts its own <unk>, <s> and </s> among the pieces.
            vocab_size=num_pieces + 3,
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


def _find_candidate_pieces(word_counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Find candidate pieces with their coverage (count times length), highest coverage first.

    Candidates are all single characters and all substrings that occur at least twice, up to
    SentencePiece's limits of their length and number.

    SentencePiece's own candidates must occur in two different words, so most whole words are never
    candidates: 22.4 tokens per PHOENIX sentence at size 2,000, compared with 15.6 with these.
    """
    piece_counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + _MAX_PIECE_LENGTH) + 1):
                piece_counts[word[start:end]] += count
    # Single characters are always kept, so that every word can be represented.
    candidates = [
        (piece, count * len(piece))
        for piece, count in piece_counts.items()
        if count > 1 or len(piece) == 1
    ]
    return sorted(candidates, key=lambda item: (-item[1], item[0]))[:_MAX_CANDIDATES]


def train_bpe(word_counts: Counter[str], vocab_size: int, reserved: Sequence[str]) -> Any:
    """Train a BPE model (byte-pair merges over characters) with `vocab_size` tokens at most.

    The reserved tokens come first in the vocabulary and are part of its size.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(reserved), show_progress=False
    )
    # The trainer accepts no counts, so words are repeated; sorted order makes ties deterministic.
    repeated_words = (word for word, count in sorted(word_counts.items()) for _ in range(count))
    tokenizer.train_from_iterator(repeated_words, trainer)
    return tokenizer.model


def build_word_level(word_counts: Counter[str], num_words: int, reserved: Sequence[str]) -> Any:
    """Build a word-level model of the reserved tokens and the `num_words` most frequent words."""
    by_frequency = sorted(word_counts, key=lambda word: (-word_counts[word], word))
    tokens = [*reserved, *by_frequency[:num_words]]
    ids_by_token = {token: token_id for token_id, token in enumerate(tokens)}
    return models.WordLevel(ids_by_token, unk_token="<unk>")
