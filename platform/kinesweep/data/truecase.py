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
_SENTENCE_START = re.compile(r"(?:^|[.!?\u2026][\"'\u201d\u2019)\]]*\s+)[^\w]*$")


@dataclass(frozen=True)
class Truecaser:
    """A truecaser, which replaces each word of a lowercased text by its cased form.

    Attributes:
        forms: Lowercased word → form, for words whose form is not lowercase.
    """

    forms: Mapping[str, str]

    def restore_case(self, text: str) -> str:
        """Restore the case of the words of a lowercased text and capitalize its sentences."""
        return _WORD.sub(
            lambda match: self._restore_word(match[0], _is_sentence_start(text, match.start())),
            text,
        )

    def _restore_word(self, word: str, starts_sentence: bool) -> str:
        """Return the cased form of a lowercased word.

        A word without a form of its own is capitalized if it starts a sentence.
        """
        form = self.forms.get(word, word)
        # A word with a form of its own, such as `iPhone`, keeps it at the start of a sentence.
        return word[:1].upper() + word[1:] if starts_sentence and form == word else form


def learn_truecaser(texts: Iterable[str]) -> Truecaser:
    """Learn a truecaser from texts: the most frequent form of each word.

    Words at the beginning of a sentence are not counted. Among equally frequent forms, the
    lowercased one is preferred.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for match in _WORD.finditer(text):
            if not _is_sentence_start(text, match.start()):
                counts[match[0].lower()][match[0]] += 1
    best_forms = {
        lower: max(sorted(forms), key=lambda form: (forms[form], form == lower))
        for lower, forms in counts.items()
    }
    return Truecaser({lower: form for lower, form in sorted(best_forms.items()) if form != lower})


def _is_sentence_start(text: str, start: int) -> bool:
    """Return whether the word that begins at the index `start` is the first one of a sentence."""
    return _SENTENCE_START.search(text[:start]) is not None
