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

_PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
# The files that nltk's reader opens; `index.sense` and `cntlist.rev` are not needed.
_FILES = (
    "lexnames",
    *(n.format(p) for n in ("index.{}", "data.{}", "{}.exc") for p in _PARTS_OF_SPEECH),
)
# Location of WordNet relative to its own folder, to nltk's data folder and to the `corpora` folder.
_SUBFOLDERS = ("", "corpora/wordnet", "wordnet")


class SynonymLookup(Protocol):
    """The WordNet interface that METEOR uses."""

    def synsets(self, word: str) -> Sequence[Any]:
        """Return the synonym sets that contain a word or its base form."""


class _EmptySynonymLookup:
    """A `SynonymLookup` implementation without synonyms."""

    def synsets(self, word: str) -> Sequence[Any]:
        """Return an empty sequence for every word."""
        return ()


@dataclass(frozen=True)
class Wordnet:
    """A source of synonyms: WordNet, or a lookup without synonyms.

    Attributes:
        reader: Lookup of synonyms.
        version: Version of WordNet; None without synonyms.
    """

    reader: SynonymLookup
    version: str | None


NO_SYNONYMS = Wordnet(_EmptySynonymLookup(), None)


def open_wordnet(path: str) -> Wordnet:
    """Read the WordNet in a folder; another call with the same folder returns the same object.

    Args:
        path: Folder that contains the WordNet files directly, in `wordnet` or in `corpora/wordnet`.

    Raises:
        InputError: If there is no WordNet or it cannot be read.
    """
    return _read_wordnet(_find_wordnet_folder(path), path)


def check_wordnet_folder(config: EvaluationConfig) -> None:
    """Check that WordNet can be read, if METEOR is to use it; called before training.

    WordNet is read and cached for this process.

    Args:
        config: The `evaluation` section, with the metrics and the WordNet folder.

    Raises:
        InputError: If the recipe names a folder without WordNet or with one that cannot be read.
    """
    if "meteor" in config.metrics and config.wordnet is not None:
        open_wordnet(config.wordnet)


def _find_wordnet_folder(path: str) -> Path:
    """Find the folder that contains the WordNet files, `path` or a known folder below it.

    Raises:
        InputError: If no such folder contains all files.
    """
    folders = [Path(path, subfolder) for subfolder in _SUBFOLDERS]
    folder = next((f for f in folders if (f / "index.noun").is_file()), folders[0])
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        archives = [archive for f in folders if Path(archive := f"{f}.zip").is_file()]
        advice = f"unpack `{archives[0]}`, or " if archives else ""
        num_more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"`evaluation.wordnet` is `{path}`, which holds no WordNet:"
            f" {', '.join(f'`{name}`' for name in missing[:3])}{num_more} missing; {advice}give the"
            " folder of nltk's `corpora/wordnet`, or `null` to use METEOR without synonyms"
        )
    return folder.resolve()


@cache
def _read_wordnet(folder: Path, user_path: str) -> Wordnet:
    """Read WordNet from a folder and add the folder to nltk's search path.

    The result is cached, because reading takes seconds.

    Args:
        folder: Folder with the WordNet files.
        user_path: Folder as given by the user, for error messages.

    Raises:
        InputError: If a file cannot be read or does not state the version.
    """
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError

    class EnglishWordNetReader(WordNetCorpusReader):
        """A reader of the English WordNet."""

        def map_wn(self, version: str = "wordnet") -> None:
            """Skip the mapping between versions of WordNet."""
            # Needed for other languages only; it would look for a second WordNet in nltk's own
            # data.
            return None

    # nltk refuses to open files outside of the folders on its path.
    if str(folder) not in nltk.data.path:
        nltk.data.path.append(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The multilingual functions")
            reader = EnglishWordNetReader(str(folder), None)
        version = reader.get_version()
    # Truncated lines exhaust the iterators of nltk's parser, hence StopIteration.
    except (OSError, ValueError, AssertionError, StopIteration, IndexError, WordNetError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"`evaluation.wordnet` is `{user_path}`, which cannot be read: {reason}"
        ) from None
    if version is None:
        raise InputError(
            f"`evaluation.wordnet` is `{user_path}`, whose `data.adj` does not say which version of"
            " WordNet it belongs to; Princeton's files state it in their license header"
        )
    return Wordnet(reader, version)
