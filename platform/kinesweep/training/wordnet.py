"""WordNet's synonyms from a folder at hand, read by nltk; nothing is fetched.

Text files of Princeton's format; their indices are read once a process, 1.4 s and 65 MB for 160,000
words.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from kinesweep.core.errors import InputError
from kinesweep.core.recipe.evaluation import EvaluationConfig

_PARTS = ("noun", "verb", "adj", "adv")
_FILES = ("lexnames", *(n.format(p) for n in ("index.{}", "data.{}", "{}.exc") for p in _PARTS))
"""What nltk's reader opens; `index.sense` and `cntlist.rev` are not looked at."""
_INSIDE = ("", "corpora/wordnet", "wordnet")
"""Where WordNet lies in its own folder, in nltk's data, and in their `corpora`."""


class Synonyms(Protocol):
    """What METEOR asks of WordNet."""

    def synsets(self, word: str) -> Sequence[Any]:
        """Sets of synonyms that a word, or its base form, is in."""


class _Nothing:
    """No word has a synonym."""

    def synsets(self, word: str) -> Sequence[Any]:
        return ()


@dataclass(frozen=True)
class Wordnet:
    """Synonyms, and where they are from.

    Attributes:
        reader: finds them.
        version: of WordNet; None: no synonyms.
    """

    reader: Synonyms
    version: str | None


NO_SYNONYMS = Wordnet(_Nothing(), None)


def open_wordnet(place: str) -> Wordnet:
    """WordNet in a folder: its own, or that of nltk's data.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    return _read(_find(place), place)


def check_metrics(config: EvaluationConfig) -> None:
    """Makes sure, before hours are spent, that what the metrics read is there.

    Raises:
        InputError: no WordNet where the recipe says.
    """
    if "meteor" in config.metrics and config.wordnet is not None:
        open_wordnet(config.wordnet)


def _find(place: str) -> Path:
    """The folder that WordNet's files lie in."""
    folders = [Path(place, inside) for inside in _INSIDE]
    folder = next((f for f in folders if (f / "index.noun").is_file()), folders[0])
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        packed = [zipped for f in folders if Path(zipped := f"{f}.zip").is_file()]
        advice = f"unpack `{packed[0]}`, or " if packed else ""
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"`evaluation.wordnet` is `{place}`, which holds no WordNet:"
            f" {', '.join(f'`{name}`' for name in missing[:3])}{more} missing; {advice}give the"
            " folder of nltk's `corpora/wordnet`, or none: METEOR then knows no synonyms"
        )
    return folder.resolve()


@cache
def _read(folder: Path, place: str) -> Wordnet:
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

    class Reader(WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> None:
            # For other languages; it would ask for a second WordNet among nltk's own data.
            return None

    # nltk opens files below its list of folders only.
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The multilingual functions")
            reader = Reader(str(folder), None)
        version = reader.get_version()
    # Cut-off lines end nltk's iterators.
    except (OSError, ValueError, AssertionError, StopIteration, IndexError, WordNetError) as error:
        why = str(error) or type(error).__name__
        raise InputError(
            f"`evaluation.wordnet` is `{place}`, which cannot be read: {why}"
        ) from None
    if version is None:
        raise InputError(
            f"`evaluation.wordnet` is `{place}`, whose `data.adj` does not say which version of"
            " WordNet it is of, as Princeton's does in its licence"
        )
    return Wordnet(reader, version)
