"""The columns of a data set: which one has the text, the media, the id and so on.

Columns that a person does not name are recognized by their names. Where two columns could be the
text or the media, nothing is guessed: the error lists the columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.hub.row_values import find_feature, get_item_feature
from kinesweep.sources.prepare.media.dotted_paths import get_value

MEDIA_KINDS: Mapping[str, str] = {"poses": "pose", "videos": "video", "features": "features"}
"""Folder of a kind of media → meaning of its column."""

COLUMN_CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "pose": ("pose", "poses", "pose_file", "pose_path", "keypoints", "landmarks", "input_pose"),
    "video": ("video", "videos", "video_file", "video_path", "mp4"),
    "features": ("features", "feature", "embedding", "embeddings", "npy"),
    "text": (
        *("text", "translation", "sentence", "output", "output_text", "caption", "transcript"),
        *("transcription", "raw_text", "target"),
    ),
    "id": ("id", "clip_id", "uid", "name", "__key__"),
    "document": ("document", "document_id", "doc_id"),
    "order": ("order",),
    "signer": ("signer", "signer_id", "speaker", "participant"),
    "gloss": ("gloss", "glosses", "orth"),
    "language": ("language", "lang", "spoken_language"),
    "start": ("signal_start", "source_start", "start_ms"),
    "end": ("signal_end", "source_end", "end_ms"),
    "encoder_prompt": ("encoder_prompt", "source_prompt"),
    "decoder_prompt": ("decoder_prompt", "generation_prompt"),
    "fps": ("fps", "frame_rate"),
    "confidence": ("confidence", "conf", "pose_confidence"),
}
"""Meaning of a column → names by which it is recognized."""

_UNAMBIGUOUS = ("text", *MEDIA_KINDS.values())
"""Meanings for which two candidates are an error; for the others, the first one is used."""


@dataclass(frozen=True)
class DatasetColumns:
    """The columns of a data set that are used.

    Attributes:
        media: Kind of media, a key of `MEDIA_KINDS`.
        paths: Dotted path of the value of each meaning that the data set has.
        names: Names of the columns to read.
    """

    media: str
    paths: dict[str, str]
    names: list[str]

    @property
    def media_path(self) -> str:
        """Return the dotted path of the media."""
        return self.paths[MEDIA_KINDS[self.media]]

    def get(self, row: Mapping[str, Any], meaning: str) -> Any:
        """Return the value of a meaning in a row, or None if it has none."""
        path = self.paths.get(meaning)
        return get_value(row, path) if path else None

    def describe(self) -> str:
        """Return a line that tells a person which columns are used."""
        return "columns: " + ", ".join(f"{meaning}={path}" for meaning, path in self.paths.items())


def choose_columns(
    features: Mapping[str, Any], chosen: Mapping[str, str], media: str | None
) -> DatasetColumns:
    """Choose the columns of a data set.

    Args:
        features: Feature of `datasets` of each column.
        chosen: Dotted path by meaning, as a person chose them.
        media: Kind of media, a key of `MEDIA_KINDS`; None for the first kind that has a column.

    Raises:
        InputError: If a meaning or column does not exist, or the text or the media is not found or
            is ambiguous; lists the columns.
    """
    columns = list(features)
    for meaning, path in chosen.items():
        _check_chosen_column(meaning, path, features)
    paths = {}
    for meaning, candidates in COLUMN_CANDIDATES.items():
        found = [name for name in candidates if name in columns]
        if meaning in chosen:
            paths[meaning] = chosen[meaning]
        elif len(found) > 1 and meaning in _UNAMBIGUOUS:
            raise InputError(
                f"several columns could be the {meaning}: {', '.join(found)}; choose one with"
                f" `--column {meaning}=NAME`"
            )
        elif found:
            paths[meaning] = found[0]
    kinds = [kind for kind, meaning in MEDIA_KINDS.items() if meaning in paths]
    missing = (
        [MEDIA_KINDS[media or "poses"]] if not kinds or (media or kinds[0]) not in kinds else []
    )
    missing += [] if "text" in paths else ["text"]
    if missing:
        raise InputError(
            f"no column is known to contain the {' and the '.join(missing)}; choose with"
            f" `--column {missing[0]}=NAME`; {_format_columns(columns)}"
        )
    kind = media or kinds[0]
    # Columns of other media are not read: a row may hold a video of many megabytes.
    unused = {meaning for other, meaning in MEDIA_KINDS.items() if other != kind}
    paths = {meaning: path for meaning, path in paths.items() if meaning not in unused}
    for meaning, path in paths.items():
        if meaning not in (*MEDIA_KINDS.values(), "confidence"):
            _check_value_column(meaning, path, find_feature(features, path), columns)
    # The name of a column may itself contain a dot.
    names = [path if path in features else path.split(".")[0] for path in paths.values()]
    return DatasetColumns(kind, paths, list(dict.fromkeys(names)))


def _check_chosen_column(meaning: str, path: str, features: Mapping[str, Any]) -> None:
    """Check that a column that a person chose exists, and its field if the path has one.

    Raises:
        InputError: If the meaning, the column or the field does not exist.
    """
    if meaning not in COLUMN_CANDIDATES:
        hint = suggest_closest_word(meaning, list(COLUMN_CANDIDATES))
        known = ", ".join(COLUMN_CANDIDATES)
        raise InputError(f"`--column` cannot set `{meaning}`{hint}; it sets {known}")
    if path in features:
        return
    column, _, field = path.partition(".")
    if column not in features:
        hint = suggest_closest_word(path, list(features))
        raise InputError(f"there is no column `{path}`{hint}; {_format_columns(list(features))}")
    fields = _list_fields(features[column])
    if field.split(".")[0] not in fields:
        raise InputError(
            f"the column `{column}` has no field `{field}`; its fields are"
            f" {', '.join(fields) or 'none'}"
        )


def _check_value_column(meaning: str, path: str, feature: Any, columns: Sequence[str]) -> None:
    """Check that a column contains single values, and the column of the texts only texts.

    Raises:
        InputError: If it contains structs, or values that are no texts.
    """
    fields = _list_fields(feature)
    if fields:
        raise InputError(
            f"the column `{path}` contains several fields; choose one with"
            f" `--column {meaning}={path}.{fields[0]}`; they are {', '.join(fields)}"
        )
    item = get_item_feature(feature)
    value = feature if item is None else item
    dtype = getattr(value, "dtype", None)
    # The names of classes are texts. A column without any value has no type.
    is_text = hasattr(value, "names") or dtype is None or "string" in dtype or dtype == "null"
    if meaning == "text" and not is_text:
        raise InputError(
            f"the column `{path}` contains values of the type {dtype} instead of texts; choose"
            f" another one with `--column text=NAME`; {_format_columns(columns)}"
        )


def _list_fields(feature: Any) -> list[str]:
    """List the fields of a column of structs or translations; none for other columns."""
    item = get_item_feature(feature)
    feature = feature if item is None else item
    if isinstance(feature, Mapping):
        return list(feature)
    return list(getattr(feature, "languages", None) or ())


def _format_columns(columns: Sequence[str]) -> str:
    """Format the names of the columns for an error message."""
    return f"the columns are {', '.join(f'`{name}`' for name in columns)}"
