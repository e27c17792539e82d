"""The inputs of MultimodalHugs' processor, in all forms of its settings.

Flat keys (2025), the shorthand `pipeline` with `modality_kwargs`, and full `slots` (0.5) describe
the same things: one input or several, each of a modality, and the tokenizer of the texts. Files
from before 0.5 do not state the modality, which the command line gave; it is then inferred from the
keys that only one modality has, or given by the user.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kinesweep.core.errors import InputError
from kinesweep.interop.settings_section import SettingsSection
from kinesweep.sources.tsv.tsv_columns import MEANING_BY_NAME

Modality = Literal["pose", "video", "features", "image", "signwriting", "text"]

MODALITY_BY_PIPELINE: dict[str, Modality] = {
    "pose2text": "pose",
    "video2text": "video",
    "features2text": "features",
    "image2text": "image",
    "signwriting2text": "signwriting",
    "text2text": "text",
}
"""Name of a task in `--modality` and `processor.pipeline` → modality of its input."""
_MODALITY_BY_DATASET: dict[str, Modality] = {
    **MODALITY_BY_PIPELINE,
    "signwriting": "signwriting",
    "bilingual_image2text": "image",
    "bilingual_text2text": "text",
}
_MODALITY_BY_CLASS: dict[str, Modality] = {
    "PoseModalityProcessor": "pose",
    "VideoModalityProcessor": "video",
    "FeaturesModalityProcessor": "features",
    "ImageModalityProcessor": "image",
    "SignwritingModalityProcessor": "signwriting",
    "TextModalityProcessor": "text",
}
CLASS_BY_MODALITY = {modality: name for name, modality in _MODALITY_BY_CLASS.items()}
_TEXT_ROLES = ("labels", "encoder_prompt", "decoder_input_ids")
"""Outputs of slots that are texts of a pose-to-text model too, and no inputs of their own."""
_TEXT_KEYS = frozenset({"text_tokenizer_path", "tokenizer_path", "new_vocabulary"})
# Keys that only one modality has, most telling first: a SignWriting processor has the keys of a
# video processor and a canvas.
_TELLING_KEYS: tuple[tuple[frozenset[str], Modality], ...] = (
    (frozenset({"reduce_holistic_poses", "data_augmentation_types"}), "pose"),
    (frozenset({"font_path", "as_numpy", "normalize_image"}), "image"),
    (frozenset({"join_chw", "io_max_retries"}), "video"),
    (
        frozenset({"invert_frame", "invert_image", "filter_empty_samples", "channels"}),
        "signwriting",
    ),
    (frozenset({"custom_preprocessor_path"}), "video"),
    (
        frozenset({"temporal_dimension_position", "temporal_dimention_position", "use_cache"}),
        "features",
    ),
)


@dataclass(frozen=True)
class InputSlot:
    """One input of a model.

    Attributes:
        modality: Modality of the input.
        name: Name of the input in a batch, such as `input_frames`.
        column: Column of the tables with the input; None for the standard column.
        settings: Settings of its processor.
    """

    modality: Modality
    name: str
    column: str | None
    settings: SettingsSection


@dataclass(frozen=True)
class ProcessorSettings:
    """The settings of a processor.

    Attributes:
        slots: Inputs of the model, at least one.
        texts: Settings of the tokenizer, and keys that belong to no input.
    """

    slots: tuple[InputSlot, ...]
    texts: SettingsSection


def read_processor(
    values: object, data: SettingsSection, uses_images: bool, task: str | None
) -> ProcessorSettings:
    """Read the `processor` section in any of its forms.

    Args:
        values: The `processor` section; any object but a mapping counts as empty.
        data: The `data` section; settings of the modality that older versions had there are
            removed from it.
        uses_images: Whether the model has an image model, which excludes poses as an input.
        task: Task such as `pose2text` that the user gives; None: find it out.

    Raises:
        InputError: If the modality is unknown or cannot be found out.
    """
    settings: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    texts = {key: settings.pop(key) for key in _TEXT_KEYS if key in settings}
    pipeline = settings.pop("pipeline", None)
    dataset_type = data.pop_setting("dataset_type")
    if "slots" in settings:
        if dataset_type is not None:
            # The classes of the slots decide.
            data.restore_setting("dataset_type", dataset_type)
        return _read_slots(settings.pop("slots"), texts, settings)
    overrides = settings.pop("slot_overrides", None) or {}
    columns = {}
    for name, override in overrides.items():
        kwargs = dict(override.get("processor_kwargs") or {})
        if name in _TEXT_ROLES:
            texts |= {key: kwargs.pop(key) for key in _TEXT_KEYS if key in kwargs}
            texts |= _list_renamed_columns(name, override.get("column_map") or {})
        else:
            columns = dict(override.get("column_map") or {})
            settings |= kwargs
    settings |= settings.pop("modality_kwargs", None) or {}
    # Before `processor` existed, these settings were in `data`.
    settings = {**_pop_old_data_settings(data), **settings}
    modality = _find_modality(task, dataset_type, pipeline, settings, uses_images)
    slot = InputSlot(
        modality, "input_frames", _find_column(columns), SettingsSection("processor", settings)
    )
    return ProcessorSettings((slot,), SettingsSection("processor", texts))


def _read_slots(
    raw_slots: Any, texts: dict[str, Any], settings: Mapping[str, Any]
) -> ProcessorSettings:
    """Read the list of slots, and the keys that stand beside it.

    Raises:
        InputError: If a class of a slot is unknown, or no slot is an input.
    """
    slots = []
    for raw_slot in raw_slots:
        kwargs = dict(raw_slot.get("processor_kwargs") or {})
        modality = _MODALITY_BY_CLASS.get(str(raw_slot.get("processor_class")))
        if modality is None:
            raise InputError(
                f"`processor_class: {raw_slot.get('processor_class')}` is unknown; known are"
                f" {', '.join(_MODALITY_BY_CLASS)}"
            )
        column_map = raw_slot.get("column_map") or {}
        name = str(raw_slot.get("output_data_key", "input_frames"))
        if modality == "text":
            for key in _TEXT_KEYS & kwargs.keys():
                # One tokenizer serves all texts, so one that differs is reported.
                is_same = texts.setdefault(key, kwargs[key]) == kwargs[key]
                texts |= {} if is_same else {f"{name}.{key}": kwargs[key]}
            is_role = raw_slot.get("is_label") or kwargs.get("role") == "target"
            if is_role or name in _TEXT_ROLES:
                texts |= _list_renamed_columns(name, column_map)
                continue
        # The role of a text (input, target) is known from its slot.
        kwargs.pop("role", None)
        # Only the first column is the input; the others state its span, which is found by name.
        times = [f"{next(iter(column_map), '')}_{bound}" for bound in ("start", "end")]
        other_columns = {
            column: meaning
            for column, meaning in list(column_map.items())[1:]
            if not (column in times and str(meaning).endswith(column.rpartition("_")[2]))
        }
        if renamed := _list_renamed_columns(name, other_columns):
            # Left among the settings, where everything that is not converted is reported.
            kwargs["column_map"] = next(iter(renamed.values()))
        section = SettingsSection(f"processor.{name}", kwargs)
        slots.append(InputSlot(modality, name, _find_column(column_map), section))
    if not slots:
        raise InputError("`processor.slots` has no input: every slot is a label or a prompt")
    return ProcessorSettings(tuple(slots), SettingsSection("processor", {**texts, **settings}))


def _find_column(column_map: Mapping[str, str]) -> str | None:
    """Return the column of an input if it has no standard name; its first column is the input."""
    column = next(iter(column_map), "signal")
    return None if MEANING_BY_NAME.get(column) == "signal" else column


def _list_renamed_columns(name: str, column_map: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a text that have no standard name, as a setting that is reported."""
    renamed = sorted(column for column in column_map if column not in MEANING_BY_NAME)
    return {f"{name}.column_map": renamed} if renamed else {}


def _pop_old_data_settings(data: SettingsSection) -> dict[str, Any]:
    """Remove the settings of a modality from the `data` section and return them."""
    preprocess = data.pop_setting("preprocess") or {}
    names = (
        *("reduce_holistic_poses", "skip_frames_stride", "font_path", "as_numpy", "join_chw"),
        *("custom_preprocessor_path", "filter_empty_samples", "signal_start_end_unit"),
    )
    found = {name: value for name in names if (value := data.pop_setting(name)) is not None}
    return {**preprocess, **found}


def _find_modality(
    task: str | None,
    dataset_type: object,
    pipeline: object,
    settings: Mapping[str, Any],
    uses_images: bool,
) -> Modality:
    """Return the modality of the only input.

    Args:
        task: Task that the user gives; None: find it out.
        dataset_type: Value of `data.dataset_type`, or None.
        pipeline: Value of `processor.pipeline`, or None.
        settings: Settings of the input.
        uses_images: Whether the model has an image model.

    Raises:
        InputError: If a name is unknown, or if nothing tells the modality apart.
    """
    for key, value in (
        ("--modality", task),
        ("processor.pipeline", pipeline),
        ("data.dataset_type", dataset_type),
    ):
        if value is not None:
            if str(value) not in _MODALITY_BY_DATASET:
                raise InputError(
                    f"`{key}` is `{value}`, which is unknown; known are"
                    f" {', '.join(_MODALITY_BY_DATASET)}"
                )
            return _MODALITY_BY_DATASET[str(value)]
    for keys, modality in _TELLING_KEYS:
        if keys & settings.keys():
            return modality
    if uses_images:
        raise InputError(
            "nothing in the settings tells whether the inputs are videos, images or SignWriting;"
            " pass `--modality video2text`, `image2text` or `signwriting2text`"
        )
    return "pose"
