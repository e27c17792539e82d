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

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.clip import Clip, InvalidRow
from kinesweep.sources.json_file import JsonObject, describe_json_type, read_json_object
from kinesweep.sources.tsv.parsed_rows import ParsedRows
from kinesweep.sources.tsv.tsv_reader import TableError

ORDER_KEY = "clip_order"
CLIPS_KEY = "clip"
"""Key that may hold all clips of a video, instead of one key per clip."""
CLIP_KEYS = ("translation", "paraphrases", "keywords")


def make_clip_id(video: str, clip: str) -> str:
    """Build the id of a clip from the names of its video and clip, neither with a slash in it."""
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
        """Read the file, and return its clips, invalid rows and errors; `media` stays empty."""
        videos, errors = read_json_object(self.path, self.name)
        parsed = ParsedRows(errors=errors)
        parsed.errors += _find_repeated_keys(self.name, videos, "video")
        if not videos and not parsed.errors:
            parsed.errors.append((self.name, "contains no videos"))
        for video, content in videos.items():
            self._read_video(video, content, parsed)
        return parsed

    def _read_video(self, video: str, content: Any, parsed: ParsedRows) -> None:
        """Add the clips, invalid rows and errors of one video to `parsed`.

        Args:
            video: Name of the video.
            content: Value of the video in the file.
            parsed: Result that this method extends.
        """
        location = f"{self.name}:{video}"
        errors = _find_name_errors(location, video, "video")
        if not isinstance(content, JsonObject):
            errors.append(
                (location, f"holds {describe_json_type(content)}, but must hold an object")
            )
        else:
            errors += _find_repeated_keys(location, content, "key")
            clip_order, order_errors = _parse_clip_order(location, content)
            errors += order_errors
            annotations = _get_clip_annotations(clip_order, content, self.ignored_keys)
            # With a malformed order, every clip would be reported as unlisted as well.
            if not order_errors:
                errors += _find_unmatched_clips(location, clip_order, annotations)
            for order, clip in enumerate(clip_order):
                if clip in annotations:
                    self._read_clip((video, clip, order), annotations[clip], parsed)
        parsed.errors += errors

    def _read_clip(self, position: tuple[str, str, int], content: Any, parsed: ParsedRows) -> None:
        """Add a clip to `parsed`, or an invalid row for it, or its errors.

        Args:
            position: Names of the video and the clip, and index of the clip in `clip_order`.
            content: Value of the clip in the file.
            parsed: Result that this method extends.
        """
        video, clip, order = position
        location = f"{self.name}:{make_clip_id(video, clip)}"
        # JSON has no row numbers, so the position is recorded here; `get_row_position` sorts by it.
        parsed.row_positions[location] = len(parsed.row_positions)
        errors = _find_clip_errors(location, content, self.ignored_keys)
        if errors:
            parsed.errors += errors
            return
        text = _collapse_whitespace(content["translation"])
        if not text:
            # An empty text makes a counted invalid row; a missing or non-string one is an error.
            invalid_row = InvalidRow(
                location, make_clip_id(video, clip), "empty_text", "`translation` is empty"
            )
            parsed.invalid_rows.append(invalid_row)
            return
        paraphrases = tuple(map(_collapse_whitespace, content.get("paraphrases", ())))
        parsed.clips.append(
            Clip(
                id=make_clip_id(video, clip),
                split=self.split,
                media="",
                texts=(text, *paraphrases),
                document=video,
                order=order,
                row=location,
                keywords=tuple(map(_collapse_whitespace, content.get("keywords", ()))),
            )
        )


def _parse_clip_order(location: str, content: JsonObject) -> tuple[list[str], list[TableError]]:
    """Return the clip names in a video's `clip_order` without duplicates, and the errors in it.

    Args:
        location: Location of the video in error messages.
        content: Value of the video in the file.
    """
    clip_order = content.get(ORDER_KEY)
    if clip_order is None:
        return [], [(location, f"has no `{ORDER_KEY}`, the list of its clips")]
    if not isinstance(clip_order, list) or not all(isinstance(clip, str) for clip in clip_order):
        return [], [(location, f"`{ORDER_KEY}` must be a list of clip names (strings)")]
    errors = [(location, f"`{ORDER_KEY}` is empty")] if not clip_order else []
    # Each distinct name once: a clip that is listed three times is one error.
    for clip in dict.fromkeys(clip_order):
        if clip_order.count(clip) > 1:
            errors.append(
                (
                    make_clip_id(location, clip),
                    f"appears {clip_order.count(clip)} times in `{ORDER_KEY}`; list it once",
                )
            )
        errors += _find_name_errors(make_clip_id(location, clip), clip, "clip")
    return list(dict.fromkeys(clip_order)), errors


def _get_clip_annotations(
    clip_order: Sequence[str], content: JsonObject, ignored_keys: Sequence[str]
) -> JsonObject:
    """Return the annotations of a video's clips by clip name, for both layouts of the file.

    Args:
        clip_order: Names of the clips in `clip_order`.
        content: Value of the video in the file.
        ignored_keys: Keys that are not clips.
    """
    # Ignored keys are removed first, so that they are not taken for unlisted clips.
    annotations = JsonObject(
        [
            (key, value)
            for key, value in content.items()
            if key != ORDER_KEY and key not in ignored_keys
        ]
    )
    grouped_annotations = annotations.get(CLIPS_KEY)
    # `clip` may also be the name of an ordinary clip; then `clip_order` lists it.
    is_grouped = list(annotations) == [CLIPS_KEY] and CLIPS_KEY not in clip_order
    if is_grouped and isinstance(grouped_annotations, JsonObject):
        return grouped_annotations
    return annotations


def _find_unmatched_clips(
    location: str, clip_order: Sequence[str], annotations: JsonObject
) -> list[TableError]:
    """Return the errors of clips without annotation, of unlisted clips and of repeated clips.

    Args:
        location: Location of the video in error messages.
        clip_order: Names of the clips in `clip_order`.
        annotations: Annotations by clip name.
    """
    missing_errors = [
        (make_clip_id(location, clip), f"is listed in `{ORDER_KEY}` but has no annotation")
        for clip in clip_order
        if clip not in annotations
    ]
    unlisted_errors = [
        (make_clip_id(location, clip), f"has an annotation but is not listed in `{ORDER_KEY}`")
        for clip in annotations
        if clip not in clip_order
    ]
    repetition_errors = _find_repeated_keys(location, annotations, "clip")
    return [*missing_errors, *unlisted_errors, *repetition_errors]


def _find_clip_errors(location: str, content: Any, ignored_keys: Sequence[str]) -> list[TableError]:
    """Return the errors in the keys, texts and keywords of the annotation of one clip.

    Args:
        location: Location of the clip in error messages.
        content: Value of the clip in the file.
        ignored_keys: Keys that are not reported as unknown.
    """
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
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            errors.append((location, f"`{key}` must be a list of strings"))
        elif not all(text.strip() and _is_encodable(text) for text in texts):
            errors.append((location, f"`{key}` contains an empty string or a lone surrogate"))
    return errors


def _find_name_errors(location: str, name: str, kind: str) -> list[TableError]:
    """Return one error if a name cannot be the name of an HDF5 object, or else an empty list.

    Args:
        location: Location of the name in error messages.
        name: Name of a video or clip.
        kind: Kind of the named object for the message: `video` or `clip`.
    """
    if not name or name == "." or "/" in name or "\x00" in name or not _is_encodable(name):
        text = f"`{name}` cannot be the name of a {kind} in HDF5: `/` and `.` are read as paths"
        # The name may itself contain a lone surrogate, which no log or terminal can encode.
        return [
            (location.encode(errors="replace").decode(), text.encode(errors="replace").decode())
        ]
    return []


def _find_repeated_keys(location: str, content: JsonObject, kind: str) -> list[TableError]:
    """Return an error for each key that appears more than once in an object of the file.

    Args:
        location: Location of the object in error messages.
        content: Object with the keys.
        kind: Meaning of the keys for the message: `video`, `clip` or `key`.
    """
    return [(location, f"{kind} `{key}` appears more than once") for key in content.repeated_keys]


def _collapse_whitespace(text: str) -> str:
    """Return a text with each run of white space replaced by one space, and none at its ends."""
    return " ".join(text.split())


def _is_encodable(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, that is, contains no lone surrogate.

    JSON escapes may contain lone surrogates (halves of a character).
    """
    return not any("\ud800" <= character <= "\udfff" for character in text)
