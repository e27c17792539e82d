"""Conversion of MultimodalHugs YAML settings, of any version and modality, into a recipe.

Settings in the file are converted; settings that it omits get MultimodalHugs' defaults where they
differ from Kinesweep's (no standardization; norms, dropout and activation off). Keys without an
equivalent are listed with a reason each; impossible values raise the recipe's own errors.
`docs/multimodalhugs.md` has a table of all options.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.loading import read_yaml, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.interop.multimodalhugs_inputs import CLASS_BY_MODALITY, read_processor
from kinesweep.interop.multimodalhugs_model_section import convert_model_section, convert_tokenizer
from kinesweep.interop.multimodalhugs_options import explain_unsupported_key
from kinesweep.interop.multimodalhugs_sources import convert_inputs, pop_tables
from kinesweep.interop.multimodalhugs_training import (
    convert_augmentation,
    convert_batch,
    convert_checkpoints,
    convert_evaluation,
    convert_generation,
    convert_tracking,
    convert_training,
)
from kinesweep.interop.settings_section import SettingsSection


@dataclass(frozen=True)
class ConvertedValues:
    """Plain values of a recipe that has not been validated.

    Attributes:
        values: Plain values of the recipe.
        unconverted: Dotted key that was not converted → its value and the reason.
        notes: Remarks on settings that were converted but behave differently.
    """

    values: dict[str, Any]
    unconverted: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ConvertedMultimodalHugsSettings:
    """The result of converting MultimodalHugs settings.

    Attributes:
        recipe: The converted recipe.
        unconverted: Dotted key that was not converted → its value and the reason.
        notes: Remarks on settings that were converted but behave differently.
    """

    recipe: Recipe
    unconverted: dict[str, str]
    notes: tuple[str, ...]


def convert_multimodalhugs_settings(
    path: Path, task: str | None = None
) -> ConvertedMultimodalHugsSettings:
    """Convert a MultimodalHugs YAML file into a recipe.

    Args:
        path: The settings file.
        task: Task such as `video2text`, for files that do not state the modality of their inputs;
            None: find it out.

    Returns:
        The recipe, the settings that were not converted, and remarks.

    Raises:
        ConfigError: If the file cannot be read or gives an invalid recipe; lists all problems.
        InputError: If the settings describe no training on a corpus, or inputs that no recipe has.
    """
    converted = convert_to_values(path, task)
    recipe = validate_config(Recipe, converted.values, f"the recipe of {path}")
    return ConvertedMultimodalHugsSettings(recipe, converted.unconverted, converted.notes)


def convert_to_values(path: Path, task: str | None = None) -> ConvertedValues:
    """Convert a MultimodalHugs YAML file into plain values of a recipe, without validating them.

    Args:
        path: The settings file.
        task: Task that the user gives; None: find it out.

    Raises:
        ConfigError: If the file cannot be read.
        InputError: If the settings describe no training on a corpus, or inputs that no recipe has.
    """
    return convert_settings(read_yaml(path), path, task)


def convert_settings(settings: dict[str, Any], path: Path, task: str | None) -> ConvertedValues:
    """Convert the plain values of MultimodalHugs settings to plain values of a recipe.

    Args:
        settings: Content of the file; emptied.
        path: File that the settings come from; the recipe is named after it if they have no name.
        task: Task that the user gives; None: find it out.

    Raises:
        InputError: If the settings describe no training on a corpus, or inputs that no recipe has.
    """
    _check_no_launcher_settings(settings, path)
    data, model, training, common, setup = (
        SettingsSection(name, settings.pop(name, None))
        for name in ("data", "model", "training", "common", "setup")
    )
    tables = pop_tables(data)
    processor = read_processor(
        settings.pop("processor", None),
        data,
        model.peek_setting("feature_extractor_type") is not None,
        task,
    )
    notes: list[str] = []
    name = training.pop_setting("run_name") or model.pop_setting("name", "model_name") or path.stem
    pretrained = model.peek_setting("pretrained_backbone")
    text_tokenizer, tokenizer = convert_tokenizer(data, processor.texts, pretrained, notes)
    inputs = convert_inputs(processor.slots, tables, model, text_tokenizer, notes)
    pose_slot = next((slot for slot in processor.slots if slot.modality == "pose"), None)
    augmentation = {} if pose_slot is None else convert_augmentation(pose_slot.settings, notes)
    training_values = convert_training(training, notes)
    modality = processor.slots[0].modality
    has_frames = modality in ("pose", "video", "features")
    batch = convert_batch(data, training, has_frames, inputs.stride)
    values = {
        # Names of recipes allow only these characters.
        "name": "".join(
            character if character.isalnum() or character in "_.-" else "_"
            for character in str(name)
        ).lstrip("_.-")
        or "converted",
        "source": inputs.source,
        "features": inputs.features,
        "batch": {**batch, **({"augmentation": augmentation} if augmentation else {})},
        "model": {
            **convert_model_section(model, tokenizer, modality == "text", notes),
            **({} if inputs.vision is None else {"vision": inputs.vision}),
        },
        "training": training_values,
        "evaluation": convert_evaluation(training, training_values["metric_for_best_model"], notes),
        "generation": convert_generation(training, model, notes),
        **convert_checkpoints(training),
        **convert_tracking(training),
    }
    # Every section has been read by now; what remains in it has no equivalent.
    sections = [(section, "") for section in (data, model, training, processor.texts)]
    sections += [(section, "") for section in (common, setup, SettingsSection("", settings))]
    sections += [(slot.settings, CLASS_BY_MODALITY[slot.modality]) for slot in processor.slots]
    unconverted = {
        key.removeprefix("."): f"{value!r}, {explain_unsupported_key(key, class_name)}"
        for section, class_name in sections
        for key, value in section.get_unread_settings().items()
    }
    return ConvertedValues(values, unconverted, tuple(notes))


def _check_no_launcher_settings(settings: dict[str, Any], path: Path) -> None:
    """Check that the file is not one of accelerate's, which starts a training on several GPUs.

    Raises:
        InputError: If it is; says which settings of a recipe do the same.
    """
    if "distributed_type" in settings:
        raise InputError(
            f"`{path}` is a file of accelerate, which says how to start a training and not what to"
            " train; a recipe does the same with `training.fsdp: true`, `resources.workers` (its"
            f" `num_processes`, {settings.get('num_processes')}) and `training.precision`"
            f" ({settings.get('mixed_precision')})"
        )
