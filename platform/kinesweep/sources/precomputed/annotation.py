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

from kinesweep.config.loading import suggest_closest_word
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.sources.json_file import JsonObject, describe_json_type, read_json_object
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import TableError

ORDER_KEY = "clip_order"
CLIPS_KEY = "clip"
"""Key that may hold all clips of a video, instead of one key per clip."""
CLIP_KEYS = ("translation", "paraphrases", "keywords")


def make_clip_id(video: str, clip: str) -> str:
    """Build the id of a clip in the corpus; neither name may contain a slash."""
    return f"{video}/{clip}"


@dataclass(frozen=True)
class AnnotationReader:
    """A reader of the annotation file of one split.

    Attributes:
        path: Path of the JSON file.
        name: Name of the file in error messages.
        split: Split that the clips belong to.
        ignored_keys: Keys of videos and clips that are skipped instead of reported as unknown.
    """

    path: Path
    name: str
    split: str
    ignored_keys: tuple[str, ...] = ()

    def read(self) -> ParsedRows:
        """Read all clips and all errors; the `media` of the clips is left empty."""
        videos, errors = read_json_object(self.path, self.name)
        parsed = ParsedRows(errors=errors)
        parsed.errors += _find_repeated_keys(self.name, videos, "video")
        if not videos and not parsed.errors:
            parsed.errors.append((self.name, "contains no videos"))
        for video, content in videos.items():
            self._read_video(video, content, parsed)
        return parsed

    def _read_video(self, video: str, content: Any, parsed: ParsedRows) -> None:
        """Add the clips and errors of one video to `parsed`."""
        location = f"{self.name}:{video}"
        errors = _find_name_errors(location, video, "video")
        if not isinstance(content, JsonObject):
            errors.append(
                (location, f"holds {describe_json_type(content)}, but must hold an object")
            )
        else:
            errors += _find_repeated_keys(location, content, "key")
            order, order_errors = _parse_clip_order(location, content)
            errors += order_errors
            clips = _get_clip_annotations(order, content, self.ignored_keys)
            # With a malformed order, every clip would be reported as unlisted as well.
            if not order_errors:
                errors += _find_unmatched_clips(location, order, clips)
            for number, clip in enumerate(order):
                if clip in clips:
                    self._read_clip((video, clip, number), clips[clip], parsed)
        parsed.errors += errors

    def _read_clip(self, position: tuple[str, str, int], content: Any, parsed: ParsedRows) -> None:
        """Add one clip, or its problem or errors, to `parsed`; `position` is video, name, index."""
        video, clip, number = position
        location = f"{self.name}:{make_clip_id(video, clip)}"
        # JSON has no row numbers, so the position is recorded here; `get_row_position` sorts by it.
        parsed.row_positions[location] = len(parsed.row_positions)
        errors = _find_clip_errors(location, content, self.ignored_keys)
        if errors:
            parsed.errors += errors
            return
        text = _collapse_whitespace(content["translation"])
        if not text:
            # An empty text is a counted problem; a missing or non-string one is an error.
            problem = InvalidRow(
                location, make_clip_id(video, clip), "empty_text", "`translation` is empty"
            )
            parsed.problems.append(problem)
            return
        paraphrases = tuple(map(_collapse_whitespace, content.get("paraphrases", ())))
        parsed.clips.append(
            Clip(
                id=make_clip_id(video, clip),
                split=self.split,
                media="",
                texts=(text, *paraphrases),
                document=video,
                order=number,
                row=location,
                keywords=tuple(map(_collapse_whitespace, content.get("keywords", ()))),
            )
        )


def _parse_clip_order(location: str, content: JsonObject) -> tuple[list[str], list[TableError]]:
    """Parse `clip_order`: return a video's clips in order without duplicates, and the errors."""
    order = content.get(ORDER_KEY)
    if order is None:
        return [], [(location, f"has no `{ORDER_KEY}`, the list of its clips")]
    if not isinstance(order, list) or not all(isinstance(clip, str) for clip in order):
        return [], [(location, f"`{ORDER_KEY}` must be a list of clip names (strings)")]
    errors = [(location, f"`{ORDER_KEY}` is empty")] if not order else []
    # Each distinct name once: a clip that is listed three times is one error.
    for clip in dict.fromkeys(order):
        if order.count(clip) > 1:
            errors.append(
                (
                    make_clip_id(location, clip),
                    f"appears {order.count(clip)} times in `{ORDER_KEY}`; list it once",
                )
            )
        errors += _find_name_errors(make_clip_id(location, clip), clip, "clip")
    return list(dict.fromkeys(order)), errors


def _get_clip_annotations(
    order: Sequence[str], content: JsonObject, ignored_keys: Sequence[str]
) -> JsonObject:
    """Return the annotations of a video's clips by clip name, for both layouts."""
    # Ignored keys are removed first, so that they are not taken for unlisted clips.
    annotations = JsonObject(
        [(k, v) for k, v in content.items() if k != ORDER_KEY and k not in ignored_keys]
    )
    grouped = annotations.get(CLIPS_KEY)
    # `clip` may also be the name of an ordinary clip; then `clip_order` lists it.
    is_grouped = list(annotations) == [CLIPS_KEY] and CLIPS_KEY not in order
    return grouped if is_grouped and isinstance(grouped, JsonObject) else annotations


def _find_unmatched_clips(
    location: str, order: Sequence[str], clips: JsonObject
) -> list[TableError]:
    """Find missing annotations, unlisted annotations and duplicate names; return the errors."""
    missing = [
        (make_clip_id(location, clip), f"is listed in `{ORDER_KEY}` but has no annotation")
        for clip in order
        if clip not in clips
    ]
    unlisted = [
        (make_clip_id(location, clip), f"has an annotation but is not listed in `{ORDER_KEY}`")
        for clip in clips
        if clip not in order
    ]
    return [
        *missing,
        *unlisted,
        *(_find_repeated_keys(location, clips, "clip") if clips.repeated_keys else ()),
    ]


def _find_clip_errors(location: str, content: Any, ignored_keys: Sequence[str]) -> list[TableError]:
    """Return the errors in the annotation of one clip."""
    if not isinstance(content, JsonObject):
        return [(location, f"holds {describe_json_type(content)}, but must hold an object")]
    errors = _find_repeated_keys(location, content, "key")
    for key in content:
        if key not in CLIP_KEYS and key not in ignored_keys:
            hint = suggest_closest_word(key, CLIP_KEYS) or f"; a clip has {', '.join(CLIP_KEYS)}"
            message = f"key `{key}` is unknown{hint}; to ignore it, add it to `source.ignore_keys`"
            errors.append((location, message))
    text = content.get("translation")
    if not isinstance(text, str):
        actual = describe_json_type(text) if "translation" in content else "missing"
        errors.append((location, f"`translation` must be a string, but is {actual}"))
    elif not _is_encodable(text):
        errors.append((location, "`translation` contains a lone surrogate (half of a character)"))
    for key in CLIP_KEYS[1:]:
        texts = content.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            errors.append((location, f"`{key}` must be a list of strings"))
        elif not all(one.strip() and _is_encodable(one) for one in texts):
            errors.append((location, f"`{key}` contains an empty string or a lone surrogate"))
    return errors


def _find_name_errors(location: str, name: str, what: str) -> list[TableError]:
    """Return an error if a video or clip name cannot also be the name of an HDF5 object."""
    if not name or name == "." or "/" in name or "\x00" in name or not _is_encodable(name):
        text = f"`{name}` cannot be the name of a {what} in HDF5: `/` and `.` are read as paths"
        # The name may itself contain a lone surrogate, which no log or terminal can encode.
        return [
            (location.encode(errors="replace").decode(), text.encode(errors="replace").decode())
        ]
    return []


def _find_repeated_keys(location: str, content: JsonObject, what: str) -> list[TableError]:
    """Return an error for each key that appears more than once."""
    return [(location, f"{what} `{key}` appears more than once") for key in content.repeated_keys]


def _collapse_whitespace(text: str) -> str:
    """Collapse each run of white space into one space."""
    return " ".join(text.split())


def _is_encodable(text: str) -> bool:
    """Return whether a text can be encoded; JSON escapes may contain lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
