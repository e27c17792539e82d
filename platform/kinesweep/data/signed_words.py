"""The words that are signed in clips, for tasks that ask whether a sign occurs.

Corpora write the same word with and without capitals, so words are compared without case.
"""

from collections.abc import Sequence

from kinesweep.core.clip import Clip
from kinesweep.store.format.index import ClipRecord


def get_signed_words(clip: Clip) -> tuple[str, ...]:
    """Return the words that are signed in a clip: its keywords, else its glosses.

    Words that differ only in case occur once, in the form of the first of them.
    """
    words: dict[str, str] = {}
    for word in clip.keywords or clip.gloss.split():
        words.setdefault(word.casefold(), word)
    return tuple(words.values())


def collect_signed_words(records: Sequence[ClipRecord]) -> list[str]:
    """Collect all words that are signed in the clips, sorted case-insensitively.

    Words that differ only in case occur once, in the form of the first of them.
    """
    words: dict[str, str] = {}
    for record in records:
        for word in get_signed_words(record.clip):
            words.setdefault(word.casefold(), word)
    return [words[key] for key in sorted(words)]
