"""Truecasing: the case that lower-cased text had, learnt from the training texts.

A model that writes lower case has fewer words to learn; references keep theirs, so what it writes
is given case before it is scored. Each word takes the form that is most frequent away from the
beginnings of sentences, which begin with a capital whatever the word is. Words that occur at
beginnings alone stay lower. Not for German nouns made of known ones: only whole words are known.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_BEFORE_A_SENTENCE = re.compile(r"(?:^|[.!?\u2026][\"'\u201d\u2019)\]]*\s+)[^\w]*$")


@dataclass(frozen=True)
class Truecaser:
    """What case words have.

    Attributes:
        forms: lower-cased word → its form, for words whose form is another.
    """

    forms: Mapping[str, str]

    def apply(self, text: str) -> str:
        """A lower-cased text with its case; nothing but letters changes."""
        return _WORD.sub(lambda found: self._word(found[0], _begins(text, found.start())), text)

    def _word(self, word: str, begins: bool) -> str:
        form = self.forms.get(word, word)
        # A form of its own, such as `iPhone`, begins a sentence as it is.
        return word[:1].upper() + word[1:] if begins and form == word else form


def learn_truecaser(texts: Iterable[str]) -> Truecaser:
    """The most frequent form of each word, beginnings of sentences left out; ties go to lower."""
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
    """Whether the word at `start` is the first of a sentence."""
    return _BEFORE_A_SENTENCE.search(text[:start]) is not None
