"""Conversion of MultimodalHugs' inputs to the sections `source`, `features` and `model.vision`.

An input is a corpus of a kind and features of a kind. Inputs of pixels (videos, images, drawn
SignWriting) pass through one vision model, which is trained unless it is frozen. Several inputs
become the parts of one `features` section.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kinesweep.core.errors import InputError
from kinesweep.interop.multimodalhugs_inputs import InputSlot
from kinesweep.interop.multimodalhugs_vision import DEFAULT_FPS, DEFAULT_SIZE, convert_vision
from kinesweep.interop.settings_section import SettingsSection

_TABLE_SOURCES = frozenset({"pose_tsv", "video_tsv"})
"""Kinds of sources whose tables may have a column for each input."""


@dataclass(frozen=True)
class ConvertedInputs:
    """The sections of a recipe that describe its inputs.

    Attributes:
        source: The `source` section.
        features: The `features` section, or the list of its parts.
        vision: The `model.vision` section; None without a vision model.
        stride: Distance between kept frames; 1 keeps all.
    """

    source: dict[str, Any]
    features: dict[str, Any] | list[dict[str, Any]]
    vision: dict[str, Any] | None
    stride: int


def convert_inputs(
    slots: Sequence[InputSlot],
    tables: dict[str, str],
    model: SettingsSection,
    text_tokenizer: dict[str, Any],
    notes: list[str],
) -> ConvertedInputs:
    """Convert the inputs of a model; the converted settings are removed from the sections.

    Args:
        slots: Inputs, at least one.
        tables: Table of each split.
        model: The `model` section of MultimodalHugs.
        text_tokenizer: The `tokenizer` of features of texts.
        notes: List to which remarks are appended.

    Raises:
        InputError: If poses or features should pass through an image model, or pixels have none.
    """
    strides = [int(slot.settings.pop_setting("skip_frames_stride") or 1) for slot in slots]
    parts = []
    for slot, stride in zip(slots, strides, strict=True):
        source, features = _convert_slot(slot, stride, text_tokenizer, notes)
        if slot.column is not None and source["kind"] in _TABLE_SOURCES:
            source["column"] = slot.column
        elif slot.column is not None:
            slot.settings.restore_setting("column_map", [slot.column])
        parts.append(({**source, **tables}, features))
    vision = convert_vision(model, slots, parts, strides, notes)
    if len(parts) == 1:
        return ConvertedInputs(*parts[0], vision, strides[0])
    main_source = parts[0][0]
    features_list = [
        _make_part(slot, source, features, main_source)
        for slot, (source, features) in zip(slots, parts, strict=True)
    ]
    notes.append(
        "MultimodalHugs 0.5 has no model for several inputs; here they are streams that are fused"
        " in time (`model.fusion`)"
    )
    return ConvertedInputs(main_source, features_list, vision, max(strides))


def pop_tables(data: SettingsSection) -> dict[str, str]:
    """Remove the tables of the splits from `data` and return them by split.

    Raises:
        InputError: If there is no table.
    """
    folder = data.pop_setting("data_dir")
    names = {"train": "train", "validation": "val", "test": "test"}
    tables: dict[str, str] = {}
    for split, short in names.items():
        table = data.pop_setting(
            f"{split}_metadata_file", f"{split}_metadata_dir", f"{split}_path", f"{short}_path"
        )
        file_name = data.pop_setting(
            f"{split}_file_name", *(["dev_file_name"] if split == "validation" else [])
        )
        if table is None and file_name is not None:
            table = f"{folder}/{file_name}" if folder else file_name
        if table is not None:
            tables[split] = str(table)
    if not tables:
        raise InputError(
            "the settings name no table of a split (`data.train_metadata_file`), so there is no"
            " corpus; they describe a model alone, which cannot become a recipe"
        )
    return tables


def _convert_slot(
    slot: InputSlot, stride: int, text_tokenizer: dict[str, Any], notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert one input to its source without tables and its features.

    Args:
        slot: Input; the converted settings are removed from it.
        stride: Distance between kept frames; 1 keeps all.
        text_tokenizer: The `tokenizer` of features of texts.
        notes: List to which remarks are appended.
    """
    if slot.modality == "pose":
        reduce_points = slot.settings.pop_setting("reduce_holistic_poses", default=True)
        points = "holistic_178" if reduce_points else "all"
        source: dict[str, Any] = {"kind": "pose_tsv", "time_unit": _pop_time_unit(slot.settings)}
        return source, {"kind": "pose", "points": points, "stride": stride}
    if slot.modality == "video":
        return _convert_video_slot(slot, stride, notes)
    if slot.modality == "features":
        return _convert_features_slot(slot, stride, notes)
    if slot.modality == "text":
        return {"kind": "text_tsv"}, {"kind": "text", "tokenizer": text_tokenizer}
    return _convert_drawn_slot(slot)


def _convert_video_slot(
    slot: InputSlot, stride: int, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert an input of videos to its source and its features; append a remark on the rate."""
    fps = DEFAULT_FPS / stride
    notes.append(
        f"MultimodalHugs reads every frame of a video at its own rate; the recipe resamples to"
        f" {fps:g} per second: set `features.target_fps` and `model.vision.windows.target_fps` to"
        " the rate of your videos" + (f" divided by {stride}" if stride > 1 else "")
    )
    source = {"kind": "video_tsv", "time_unit": _pop_time_unit(slot.settings)}
    return source, {"kind": "frames", "target_fps": fps}


def _convert_features_slot(
    slot: InputSlot, stride: int, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert an input of feature files to its source and its features; append remarks."""
    axis = slot.settings.pop_setting("temporal_dimension_position", "temporal_dimention_position")
    notes.append(
        f"feature files state no rate; set `source.fps`, which is {DEFAULT_FPS:g} here, to the"
        " vectors per second"
    )
    source = {"kind": "feature_tsv", "fps": DEFAULT_FPS, "time_axis": int(axis or 0)}
    return source, {"kind": "precomputed", "stride": stride}


def _convert_drawn_slot(slot: InputSlot) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert an input of images or SignWriting to its source and its features."""
    settings = slot.settings
    size = settings.pop_setting("width", default=DEFAULT_SIZE)
    # Frames are square, as those of the models that read them.
    height = settings.pop_setting("height", default=size)
    features: dict[str, Any] = {"kind": "images", "size": max(int(size), int(height))}
    is_drawn_sign = slot.modality == "signwriting"
    inverts = settings.pop_setting("invert_frame", "invert_image", default=is_drawn_sign)
    if is_drawn_sign or inverts:
        features["invert"] = bool(inverts)
    if is_drawn_sign:
        return {"kind": "signwriting_tsv"}, features
    font = settings.pop_setting("font_path")
    if font is None:
        return {"kind": "image_tsv"}, features
    return {"kind": "text_tsv"}, {**features, "font": font}


def _pop_time_unit(settings: SettingsSection) -> str:
    """Remove the time unit of segments from the settings and return that of the recipe.

    Raises:
        InputError: If the unit is unknown.
    """
    value = settings.pop_setting("signal_start_end_unit", default="milliseconds")
    # The unit may be written as in Python: `SignalUnit.FRAMES`.
    unit = str(value).lower().rpartition(".")[2]
    units = {"milliseconds": "ms", "frames": "frames"}
    if unit not in units:
        raise InputError(f"`signal_start_end_unit` is `{value}`; known are {' and '.join(units)}")
    return units[unit]


def _make_part(
    slot: InputSlot, source: dict[str, Any], features: dict[str, Any], main_source: dict[str, Any]
) -> dict[str, Any]:
    """Make a part of combined features from an input.

    Args:
        slot: Input.
        source: Source of the input.
        features: Features of the input.
        main_source: Source of the recipe.
    """
    name = slot.name.removesuffix("_frames").removesuffix("_features").lower()
    part = {"name": name if name != "input" else slot.modality, **features}
    if source == main_source:
        return part
    shares_tables = {source["kind"], main_source["kind"]} <= _TABLE_SOURCES
    return (
        {**part, "column": slot.column or "signal"} if shares_tables else {**part, "source": source}
    )
