"""The tokenizer that suits the script of a corpus' reference texts.

sacreBLEU's default tokenizer splits at spaces. In a script without spaces, a whole sentence becomes
one word, and a perfect sentence scores 0 because it has no 4-grams. The tokenizer is therefore
chosen by the script of the texts: once from a fixed sample, so it is the same for all runs, splits
and models of a corpus. 2,000 sentences take about 30 ms.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import regex

from kinesweep.core.errors import InputError
from kinesweep.evaluation.tokenization.fsw import is_fsw_word

ScriptTokenizer = Literal["13a", "zh", "ja-mecab", "char", "fsw"]
"""A tokenizer that `evaluation.protocol.tokenize: auto` can choose."""

MAX_SCRIPT_SAMPLE = 2000
"""Number of texts whose script is examined, spread evenly over all texts."""
_MIN_SHARE = 0.9
"""Share of the texts that must suit the chosen tokenizer; a few foreign sentences are tolerated."""
# Chinese sentences hardly ever contain kana; half of a Japanese sentence is kana. A Chinese text
# with a Japanese brand name stays below this share.
_MIN_KANA_SHARE = 0.1
# Japanese words and headings can consist of Han characters alone, longer sentences cannot.
_MAX_AMBIGUOUS_HAN = 12
# In Japanese word lists, at least this share of the entries contains kana.
_MIN_KANA_TEXT_SHARE = 0.2

_HAN = regex.compile(r"[\p{Script=Han}\p{Script=Bopomofo}]")
_KANA = regex.compile(r"[\p{Script=Hiragana}\p{Script=Katakana}ー]")
# Scripts that do not separate words by spaces. The Unicode line-breaking class SA contains those
# of South East Asia: Thai, Lao, Khmer, Burmese, Tai Le and others (UAX #14). Tibetan separates
# syllables only. The last range holds the symbols of SignWriting fonts in a private-use plane.
_WITHOUT_SPACES = regex.compile(
    r"[\p{Line_Break=SA}\p{Script=Tibetan}\p{Script=Javanese}\p{Script=Balinese}\p{Script=Yi}"
    r"\p{Script=Tangut}\p{Script=Nushu}\p{Script=SignWriting}\U00040001-\U0004FFFF]"
)
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}\p{N}'’‘-]*")
_DESCRIPTIONS = {
    "13a": "with spaces between words",
    "zh": "Chinese",
    "ja-mecab": "Japanese",
    "char": "in another script without spaces",
    "fsw": "SignWriting (FSW)",
}


def choose_tokenizer(texts: Sequence[str]) -> ScriptTokenizer:
    """Choose the tokenizer that suits the script of at least 90 % of the texts.

    `13a` for scripts with spaces (Korean and Vietnamese among them), `zh` for Chinese, `ja-mecab`
    for Japanese, `fsw` for SignWriting in FSW, and `char` for other scripts without spaces. Texts
    without letters do not count. At most 2,000 texts are examined, spread evenly.

    Args:
        texts: Reference texts of a corpus.

    Raises:
        InputError: If the texts are in several scripts that need different tokenizers.
    """
    step = max(1, -(-len(texts) // MAX_SCRIPT_SAMPLE))
    counts = _count_tokenizers(texts[::step])
    if not counts:
        return "13a"
    # Sorted by name, so that a tie does not depend on the order of the texts.
    best = max(sorted(counts), key=lambda name: counts[name])
    if counts[best] < _MIN_SHARE * counts.total():
        raise InputError(_format_mixed_scripts_error(counts))
    return best


def is_unsuitable(tokenize: str, texts: Sequence[str]) -> bool:
    """Return whether a tokenizer that splits at spaces is used for a script without spaces."""
    if tokenize not in ("13a", "intl", "none"):
        return False
    step = max(1, -(-len(texts) // MAX_SCRIPT_SAMPLE))
    counts = _count_tokenizers(texts[::step])
    return counts["13a"] + counts["fsw"] < (1 - _MIN_SHARE) * counts.total()


def _count_tokenizers(texts: Sequence[str]) -> Counter[ScriptTokenizer]:
    """Return for each tokenizer the number of texts that it suits."""
    counts: Counter[ScriptTokenizer] = Counter()
    num_ambiguous = 0
    for text in texts:
        tokenizer = _classify(text)
        if tokenizer == "ambiguous":
            num_ambiguous += 1
        elif tokenizer is not None:
            counts[tokenizer] += 1
    if num_ambiguous:
        num_japanese = counts["ja-mecab"]
        is_japanese = num_japanese > counts["zh"] and (
            num_japanese >= _MIN_KANA_TEXT_SHARE * (num_japanese + num_ambiguous)
        )
        counts["ja-mecab" if is_japanese else "zh"] += num_ambiguous
    return counts


def _classify(text: str) -> ScriptTokenizer | Literal["ambiguous"] | None:
    """Return the tokenizer that suits a text; None if the text has no letters.

    `ambiguous` is a short text of Han characters alone, which may be Chinese or Japanese.
    """
    words = text.split()
    if 2 * sum(map(is_fsw_word, words)) > len(words):
        return "fsw"
    num_han, num_kana = len(_HAN.findall(text)), len(_KANA.findall(text))
    num_without_spaces = len(_WITHOUT_SPACES.findall(text))
    # A foreign word counts as one, like a character: a long name does not outweigh a sentence.
    remaining_text = _HAN.sub(" ", _KANA.sub(" ", _WITHOUT_SPACES.sub(" ", text)))
    num_words = len(_WORD.findall(remaining_text))
    num_cjk = num_han + num_kana
    if not num_cjk + num_without_spaces + num_words:
        return None
    if num_words > max(num_cjk, num_without_spaces):
        return "13a"
    if num_without_spaces > num_cjk:
        return "char"
    if num_kana >= _MIN_KANA_SHARE * num_cjk:
        return "ja-mecab"
    return "ambiguous" if num_han <= _MAX_AMBIGUOUS_HAN else "zh"


def _format_mixed_scripts_error(counts: Counter[ScriptTokenizer]) -> str:
    """Format the error message for texts in several scripts."""
    parts = ", ".join(f"{count} {_DESCRIPTIONS[name]}" for name, count in counts.most_common())
    return (
        f"the reference texts are in several scripts: of {counts.total()} examined texts, {parts}."
        " No tokenizer suits all of them, so `evaluation.protocol.tokenize: auto` cannot choose"
        " one. Set it, for example `evaluation.protocol={tokenize: char}` to score characters, or"
        " `{tokenize: zh}` for Chinese with words of other languages."
    )
