"""WordNet synonyms from a local folder, read by nltk; nothing is downloaded.

The files are in Princeton's text format. Their indices are read once per process, which takes 1.4 s
and 65 MB for 160,000 words.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import InputError

_PARTS = ("noun", "verb", "adj", "adv")
# The files that nltk's reader opens; `index.sense` and `cntlist.rev` are not needed.
_FILES = ("lexnames", *(n.format(p) for n in ("index.{}", "data.{}", "{}.exc") for p in _PARTS))
# Location of WordNet relative to its own folder, to nltk's data folder and to the `corpora` folder.
_INSIDE = ("", "corpora/wordnet", "wordnet")


class Synonyms(Protocol):
    """The WordNet interface that METEOR uses."""

    def synsets(self, word: str) -> Sequence[Any]:
        """Return the synonym sets that contain a word or its base form."""


class _Nothing:
    """A `Synonyms` implementation without synonyms."""

    def synsets(self, word: str) -> Sequence[Any]:
        return ()


@dataclass(frozen=True)
class Wordnet:
    """A source of synonyms.

    Attributes:
        reader: Lookup of synonyms.
        version: Version of WordNet; None for no synonyms.
    """

    reader: Synonyms
    version: str | None


NO_SYNONYMS = Wordnet(_Nothing(), None)


def open_wordnet(place: str) -> Wordnet:
    """Open WordNet in its own folder or in nltk's data folder.

    Args:
        place: Folder that contains the WordNet files directly or in `corpora/wordnet`.

    Raises:
        InputError: If there is no WordNet or it cannot be read.
    """
    return _read(_find(place), place)


def check_metrics(config: EvaluationConfig) -> None:
    """Check, before hours of training, that the files which the metrics need exist.

    Raises:
        InputError: If the recipe names a folder without WordNet.
    """
    if "meteor" in config.metrics and config.wordnet is not None:
        open_wordnet(config.wordnet)


def _find(place: str) -> Path:
    """Return the folder with the WordNet files."""
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
            " folder of nltk's `corpora/wordnet`, or `null` to use METEOR without synonyms"
        )
    return folder.resolve()


@cache
def _read(folder: Path, place: str) -> Wordnet:
    """Read WordNet; cached, because reading takes seconds.

    Args:
        folder: Folder with the WordNet files.
        place: Folder as given by the user, for error messages.
    """
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

    class Reader(WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> None:
            # Needed for other languages only; it would look for a second WordNet in nltk's own
            # data.
            return None

    # nltk refuses to open files outside of the folders on its path.
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The multilingual functions")
            reader = Reader(str(folder), None)
        version = reader.get_version()
    # Truncated lines exhaust the iterators of nltk's parser, hence StopIteration.
    except (OSError, ValueError, AssertionError, StopIteration, IndexError, WordNetError) as error:
        why = str(error) or type(error).__name__
        raise InputError(
            f"`evaluation.wordnet` is `{place}`, which cannot be read: {why}"
        ) from None
    if version is None:
        raise InputError(
            f"`evaluation.wordnet` is `{place}`, whose `data.adj` does not say which version of"
            " WordNet it belongs to; Princeton's files state it in their license header"
        )
    return Wordnet(reader, version)
