"""Choice of one caption file per video, by language, kind and format, from the names of the files.

Downloaders name caption files `{id}.{language}.{format}` or `{title} [{id}].{language}.{format}`.
`a.en` and `en-orig` mark automatic captions. Of several files, manual captions go before automatic
ones, then English or the languages that were asked for, then the format.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kinesweep.sources.prepare.captions.caption_file import CAPTION_PARSERS, UNSUPPORTED_SUFFIXES
from kinesweep.sources.prepare.captions.caption_track import CaptionTrack

ALL_LANGUAGES = "all"
"""Value that asks for every language of a video."""
DEFAULT_LANGUAGE = "en"
"""Language of files that do not state one: YouTube-ASL's captions are English."""
_LANGUAGE_PATTERN = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
_BRACKETED_ID_PATTERN = re.compile(r".*\[([A-Za-z0-9_-]+)\]", re.DOTALL)
_OLD_CODES = {"iw": "he", "in": "id", "ji": "yi", "mo": "ro"}
"""Withdrawn ISO 639 codes, which YouTube still uses, and the codes that replaced them."""
_FORMATS = tuple(CAPTION_PARSERS)


@dataclass(frozen=True)
class CaptionFile:
    """A caption file, as its name describes it.

    Attributes:
        path: Path of the file.
        video: Id of the video.
        tag: Language tag such as `pt-BR`, or empty.
        is_automatic: Whether the captions are known to be automatic.
    """

    path: Path
    video: str
    tag: str = ""
    is_automatic: bool = False

    @property
    def language(self) -> str:
        """Return the language code without region and script; English if there is no tag."""
        return get_language_code(self.tag) or DEFAULT_LANGUAGE

    def add_content(self, track: CaptionTrack) -> "CaptionFile":
        """Return the file with what its content says and its name does not."""
        return replace(
            self,
            tag=self.tag or track.language,
            is_automatic=self.is_automatic or track.is_automatic,
        )


@dataclass
class CaptionChoice:
    """The files of a video that are used.

    Attributes:
        files: Chosen files, one per language, in the order of preference.
        unused: Number of other files by reason.
    """

    files: list[CaptionFile] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)


def get_language_code(tag: str) -> str:
    """Return the language code of a tag: `pt` for `pt-BR`, `he` for the withdrawn `iw`."""
    code = re.split("[-_]", tag.lower())[0]
    return _OLD_CODES.get(code, code)


def parse_caption_name(path: Path) -> CaptionFile | None:
    """Return the description of a caption file from its name, or None if it is no caption file.

    A JSON file with another word in its name is metadata, such as a downloader's `{id}.info.json`.
    """
    suffix = path.suffix.lower()
    if suffix not in CAPTION_PARSERS and suffix not in UNSUPPORTED_SUFFIXES:
        return None
    stem, tag, is_automatic = path.name[: -len(suffix)], "", False
    name, _, last_part = stem.rpartition(".")
    if name and _LANGUAGE_PATTERN.fullmatch(last_part):
        stem, tag = name, last_part
        if stem.endswith(".a"):
            stem, is_automatic = stem.removesuffix(".a"), True
        if tag.lower().endswith("-orig"):
            tag, is_automatic = tag[: -len("-orig")], True
    elif name and suffix == ".json":
        return None
    bracketed = _BRACKETED_ID_PATTERN.fullmatch(stem)
    video = bracketed[1] if bracketed else stem.partition(".")[0]
    return CaptionFile(path, video, tag, is_automatic)


def choose_caption_files(files: Iterable[CaptionFile], languages: Sequence[str]) -> CaptionChoice:
    """Choose the caption files of a video.

    Args:
        files: All readable caption files of the video, at least one.
        languages: Language codes in the order of preference; `all` for every language; empty for
            English or, if there is only one other language, that one.

    Raises:
        ValueError: If no language was asked for, and the video has several but not English.
    """
    ranked = sorted(files, key=_rank)
    if tuple(languages) == (ALL_LANGUAGES,):
        wanted = sorted({file.language for file in ranked})
        chosen = [next(file for file in ranked if file.language == code) for code in wanted]
    elif languages:
        first = (f for code in languages for f in ranked if f.language == get_language_code(code))
        chosen = [file for file in [next(first, None)] if file is not None]
    else:
        chosen = [_choose_default_file(ranked)]
    choice = CaptionChoice(chosen)
    for file in ranked:
        if file not in chosen:
            same = next((other for other in chosen if other.language == file.language), None)
            if same is None:
                reason = "other_language"
            elif file.is_automatic and not same.is_automatic:
                reason = "automatic"
            else:
                has_same_format = file.path.suffix == same.path.suffix
                reason = "same_language" if has_same_format else "other_format"
            choice.unused[reason] += 1
    return choice


def _rank(file: CaptionFile) -> tuple[bool, bool, str, int, str]:
    """Return the key by which files are preferred, the smallest first."""
    has_region = bool(file.tag) and file.tag.lower() != file.language
    suffix_rank = _FORMATS.index(file.path.suffix.lower())
    return (file.is_automatic, has_region, file.tag, suffix_rank, str(file.path))


def _choose_default_file(ranked: list[CaptionFile]) -> CaptionFile:
    """Return the preferred file when no language was asked for.

    Raises:
        ValueError: If there are several languages and none is English.
    """
    # Manual captions are in the language of the video; automatic ones may be translated.
    group = [file for file in ranked if file.is_automatic == ranked[0].is_automatic]
    languages = sorted({file.language for file in group})
    if DEFAULT_LANGUAGE in languages or len(languages) == 1:
        wanted = DEFAULT_LANGUAGE if DEFAULT_LANGUAGE in languages else languages[0]
        return next(file for file in group if file.language == wanted)
    raise ValueError(
        f"there are captions in {', '.join(languages)} and none in English; choose with"
        f" `--languages`, for example `--languages {languages[0]}`"
    )
