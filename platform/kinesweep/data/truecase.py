"""Truecasing: restores the case of lowercased text, as learned from the training texts.

A model that writes lowercase has fewer words to learn. References keep their case, so generated
text is truecased before it is scored. Each word gets its most frequent form outside of the
beginnings of sentences, which are capitalized regardless of the word. Words that occur only at
beginnings stay lowercase. German compounds that did not occur in training are not capitalized,
because only whole words are known.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Letters and digits, with apostrophes inside: "don't" is one word.
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
# The start of the text, or a closing mark with optional quotes or brackets and a space.
_BEFORE_A_SENTENCE = re.compile(r"(?:^|[.!?\u2026][\"'\u201d\u2019)\]]*\s+)[^\w]*$")


@dataclass(frozen=True)
class Truecaser:
    """The form of each word.

    Attributes:
        forms: Lowercased word → form, for words whose form is not lowercase.
    """

    forms: Mapping[str, str]

    def apply(self, text: str) -> str:
        """Return a lowercased text with its case restored; only letters change."""
        return _WORD.sub(lambda found: self._word(found[0], _begins(text, found.start())), text)

    def _word(self, word: str, begins: bool) -> str:
        """Return a word's form; `begins` says whether it starts a sentence."""
        form = self.forms.get(word, word)
        # A word with a form of its own, such as `iPhone`, keeps it at the start of a sentence.
        return word[:1].upper() + word[1:] if begins and form == word else form


def learn_truecaser(texts: Iterable[str]) -> Truecaser:
    """Learn each word's most frequent form, not counting beginnings of sentences.

    In a tie lowercase is preferred.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for found in _WORD.finditer(text):
            if not _begins(text, found.start()):
                counts[found[0].lower()][found[0]] += 1
    best = {
        lower: max(sorted(forms), key=lambda form: (forms[form], form == lower))
        for lower, forms in counts.items()
    }
    return Truecaser({lower: form for lower, form in sorted(best.items()) if form != lower})


def _begins(text: str, start: int) -> bool:
    """Return whether the word at `start` is the first one of a sentence."""
    return _BEFORE_A_SENTENCE.search(text[:start]) is not None
