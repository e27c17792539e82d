"""Reader for Sign_LLaVA annotation files: videos, their clip order, texts and keywords.

A file describes one split: `{video: {clip_order: [clip, …], clip: {translation, paraphrases,
keywords}, …}}`. The clips may also be grouped under a single key `clip` next to `clip_order`. The
translation is a clip's first text; the paraphrases are additional references. Runs of white space
in texts are collapsed to one space.

All errors are reported together, each with its video and clip. A clip that is listed in
`clip_order` but has no annotation (or the reverse) is an error, because it would otherwise be
dropped from training without notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.loading import did_you_mean
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.sources.json_file import Object, kind_of, read_object
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import TableError

ORDER = "clip_order"
TOGETHER = "clip"
"""Key that may hold all clips of a video, instead of one key per clip."""
KEYS = ("translation", "paraphrases", "keywords")


def clip_id(video: str, clip: str) -> str:
    """Return the id of a clip in the corpus; neither name may contain a slash."""
    return f"{video}/{clip}"


@dataclass(frozen=True)
class Annotation:
    """An annotation file of one split.

    Attributes:
        path: Path of the JSON file.
        name: Name of the file in error messages.
        split: Split that the clips belong to.
        ignored: Keys of videos and clips that are skipped instead of reported as unknown.
    """

    path: Path
    name: str
    split: str
    ignored: tuple[str, ...] = ()

    def read(self) -> ParsedRows:
        """Read all clips and all errors; the `media` of the clips is left empty."""
        videos, faults = read_object(self.path, self.name)
        found = ParsedRows(faults=faults)
        found.faults += _repeated(self.name, videos, "video")
        if not videos and not found.faults:
            found.faults.append((self.name, "contains no videos"))
        for video, content in videos.items():
            self._read_video(video, content, found)
        return found

    def _read_video(self, video: str, content: Any, found: ParsedRows) -> None:
        """Add the clips and errors of one video to `found`."""
        where = f"{self.name}:{video}"
        faults = _name_faults(where, video, "video")
        if not isinstance(content, Object):
            faults.append((where, f"holds {kind_of(content)}, but must hold an object"))
        else:
            faults += _repeated(where, content, "key")
            order, wrong = _order(where, content)
            faults += wrong
            clips = _clips(order, content, self.ignored)
            # With a malformed order, every clip would be reported as unlisted as well.
            if not wrong:
                faults += _unmatched(where, order, clips)
            for number, clip in enumerate(order):
                if clip in clips:
                    self._read_clip((video, clip, number), clips[clip], found)
        found.faults += faults

    def _read_clip(self, place: tuple[str, str, int], content: Any, found: ParsedRows) -> None:
        """Add one clip, given as video, name and position, or its problem or errors to `found`."""
        video, clip, number = place
        where = f"{self.name}:{clip_id(video, clip)}"
        # JSON has no row numbers, so the position is recorded here; `place` sorts problems by it.
        found.lines[where] = len(found.lines)
        faults = _clip_faults(where, content, self.ignored)
        if faults:
            found.faults += faults
            return
        text = _spaced(content["translation"])
        if not text:
            # An empty text is a counted problem; a missing or non-string one is an error.
            problem = InvalidRow(
                where, clip_id(video, clip), "empty_text", "`translation` is empty"
            )
            found.problems.append(problem)
            return
        paraphrases = tuple(map(_spaced, content.get("paraphrases", ())))
        found.clips.append(
            Clip(
                id=clip_id(video, clip),
                split=self.split,
                media="",
                texts=(text, *paraphrases),
                document=video,
                order=number,
                row=where,
                keywords=tuple(map(_spaced, content.get("keywords", ()))),
            )
        )


def _order(where: str, content: Object) -> tuple[list[str], list[TableError]]:
    """Return the clips of a video in order without duplicates, and the errors in `clip_order`."""
    order = content.get(ORDER)
    if order is None:
        return [], [(where, f"has no `{ORDER}`, the list of its clips")]
    if not isinstance(order, list) or not all(isinstance(clip, str) for clip in order):
        return [], [(where, f"`{ORDER}` must be a list of clip names (strings)")]
    faults = [(where, f"`{ORDER}` is empty")] if not order else []
    # Each distinct name once: a clip that is listed three times is one error.
    for clip in dict.fromkeys(order):
        if order.count(clip) > 1:
            faults.append(
                (
                    clip_id(where, clip),
                    f"appears {order.count(clip)} times in `{ORDER}`; list it once",
                )
            )
        faults += _name_faults(clip_id(where, clip), clip, "clip")
    return list(dict.fromkeys(order)), faults


def _clips(order: Sequence[str], content: Object, ignored: Sequence[str]) -> Object:
    """Return the annotations of a video's clips by clip name, for both layouts."""
    # Ignored keys are removed first, so that they are not taken for unlisted clips.
    own = Object([(k, v) for k, v in content.items() if k != ORDER and k not in ignored])
    together = own.get(TOGETHER)
    # `clip` may also be the name of an ordinary clip; then `clip_order` lists it.
    alone = list(own) == [TOGETHER] and TOGETHER not in order
    return together if alone and isinstance(together, Object) else own


def _unmatched(where: str, order: Sequence[str], clips: Object) -> list[TableError]:
    """Return errors for clips without annotation, unlisted annotations and duplicate names."""
    lacking = [
        (clip_id(where, clip), f"is listed in `{ORDER}` but has no annotation")
        for clip in order
        if clip not in clips
    ]
    unlisted = [
        (clip_id(where, clip), f"has an annotation but is not listed in `{ORDER}`")
        for clip in clips
        if clip not in order
    ]
    return [*lacking, *unlisted, *(_repeated(where, clips, "clip") if clips.repeated else ())]


def _clip_faults(where: str, content: Any, ignored: Sequence[str]) -> list[TableError]:
    """Return the errors in the annotation of one clip."""
    if not isinstance(content, Object):
        return [(where, f"holds {kind_of(content)}, but must hold an object")]
    faults = _repeated(where, content, "key")
    for key in content:
        if key not in KEYS and key not in ignored:
            hint = did_you_mean(key, KEYS) or f"; a clip has {', '.join(KEYS)}"
            why = f"key `{key}` is unknown{hint}; to ignore it, add it to `source.ignore_keys`"
            faults.append((where, why))
    text = content.get("translation")
    if not isinstance(text, str):
        what = kind_of(text) if "translation" in content else "missing"
        faults.append((where, f"`translation` must be a string, but is {what}"))
    elif not _sound(text):
        faults.append((where, "`translation` contains a lone surrogate (half of a character)"))
    for key in KEYS[1:]:
        texts = content.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            faults.append((where, f"`{key}` must be a list of strings"))
        elif not all(one.strip() and _sound(one) for one in texts):
            faults.append((where, f"`{key}` contains an empty string or a lone surrogate"))
    return faults


def _name_faults(where: str, name: str, what: str) -> list[TableError]:
    """Return an error if a video or clip name cannot also be the name of an HDF5 object."""
    if not name or name == "." or "/" in name or "\x00" in name or not _sound(name):
        text = f"`{name}` cannot be the name of a {what} in HDF5: `/` and `.` are read as paths"
        # The name may itself contain a lone surrogate, which no log or terminal can encode.
        return [(where.encode(errors="replace").decode(), text.encode(errors="replace").decode())]
    return []


def _repeated(where: str, content: Object, what: str) -> list[TableError]:
    """Return an error for each key that appears more than once."""
    return [(where, f"{what} `{key}` appears more than once") for key in content.repeated]


def _spaced(text: str) -> str:
    """Collapse each run of white space into one space."""
    return " ".join(text.split())


def _sound(text: str) -> bool:
    """Return whether a text can be encoded; JSON escapes may contain lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
