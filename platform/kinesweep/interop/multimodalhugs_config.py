"""Conversion of MultimodalHugs YAML settings, of any version, into a recipe.

Settings in the file are converted; settings that it omits get MultimodalHugs' defaults where they
differ from Kinesweep's (no standardization; norms, dropout and activation off). Keys without an
equivalent are listed with a reason each; impossible values raise the recipe's own errors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.loading import read_yaml, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.interop.multimodalhugs_model_section import convert_model_section
from kinesweep.interop.multimodalhugs_processor import flatten_processor
from kinesweep.interop.multimodalhugs_unsupported_keys import explain_unsupported_key
from kinesweep.interop.settings_section import SettingsSection

# The recipe calls these metrics by other names.
_METRIC_NAMES = {"sacrebleu": "bleu", "loss": "token_loss"}


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


def convert_multimodalhugs_settings(path: Path) -> ConvertedMultimodalHugsSettings:
    """Convert a MultimodalHugs YAML file into a recipe.

    Args:
        path: The settings file.

    Returns:
        The recipe, the settings that were not converted, and remarks.

    Raises:
        ConfigError: If the file cannot be read or gives an invalid recipe; lists all problems.
        InputError: If the settings are not for a pose-to-text model.
    """
    settings = read_yaml(path)
    data, model, training = (
        SettingsSection(name, settings.pop(name, None)) for name in ("data", "model", "training")
    )
    processor = flatten_processor(settings.pop("processor", None))
    # No key of these sections has an equivalent, so all of them are reported as not converted.
    ignored_section = SettingsSection(
        "common", {**(settings.pop("common", None) or {}), **(settings.pop("setup", None) or {})}
    )
    notes: list[str] = []
    name = training.pop_setting("run_name") or model.pop_setting("name", "model_name") or path.stem
    training_values = _convert_training(training, notes)
    values = {
        # Names of recipes allow only these characters.
        "name": "".join(
            character if character.isalnum() or character in "_.-" else "_"
            for character in str(name)
        ),
        "source": _convert_source(data, processor),
        "features": _convert_features(processor),
        "batch": _convert_batch(data, training),
        "model": convert_model_section(model, data, processor, notes),
        "training": training_values,
        "evaluation": _convert_evaluation(training, training_values["metric_for_best_model"]),
        "generation": _convert_generation(training, model, notes),
    }
    # Every section has been read by now; what remains in it has no equivalent.
    sections = (data, model, training, processor, ignored_section)
    unread = {
        **{
            key: value
            for section in sections
            for key, value in section.get_unread_settings().items()
        },
        **settings,
    }
    unconverted = {
        key: f"{value!r}, {explain_unsupported_key(key)}" for key, value in unread.items()
    }
    return ConvertedMultimodalHugsSettings(
        validate_config(Recipe, values, f"the recipe of {path}"), unconverted, tuple(notes)
    )


def _convert_source(data: SettingsSection, processor: SettingsSection) -> dict[str, Any]:
    """Convert the tables of the splits and the time unit of segments to the `source` section.

    The converted settings are removed from `data` and `processor`.
    """
    splits = {
        split: data.pop_setting(f"{split}_metadata_file", f"{split}_metadata_dir")
        for split in ("train", "validation", "test")
    }
    unit = str(processor.pop_setting("signal_start_end_unit", default="milliseconds")).lower()
    time_unit = "frames" if "frame" in unit else "ms"
    return {
        "kind": "pose_tsv",
        **{split: table for split, table in splits.items() if table},
        "time_unit": time_unit,
    }


def _convert_features(processor: SettingsSection) -> dict[str, Any]:
    """Convert the selection of points and frames to the `features` section.

    The converted settings are removed from `processor`.
    """
    reduce_points = processor.pop_setting("reduce_holistic_poses", default=True)
    stride = processor.pop_setting("skip_frames_stride") or 1  # null means every frame
    return {"points": "holistic_178" if reduce_points else "all", "stride": stride}


def _convert_batch(data: SettingsSection, training: SettingsSection) -> dict[str, Any]:
    """Convert batch size, limits of clip lengths and loader workers to the `batch` section.

    The converted settings are removed from `data` and `training`.
    """
    return {
        # 8 is the default of Hugging Face's `TrainingArguments`.
        "batch_size": training.pop_setting("per_device_train_batch_size", default=8),
        "min_clip_frames": data.pop_setting("min_frames") or 1,
        "max_clip_frames": data.pop_setting("max_frames"),
        "loader_workers": training.pop_setting("dataloader_num_workers", default=0),
    }


def _convert_training(training: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the training arguments to the `training` section; append remarks to `notes`.

    The converted settings are removed from `training`.
    """
    precision_flags = {name: training.pop_setting(name) for name in ("fp16", "bf16")}
    # Hugging Face prefixes the metrics of evaluations with `eval_`.
    metric = str(training.pop_setting("metric_for_best_model", default="bleu")).removeprefix(
        "eval_"
    )
    values = {
        "precision": next(
            (name for name, is_enabled in precision_flags.items() if is_enabled), "fp32"
        ),
        "metric_for_best_model": _METRIC_NAMES.get(metric, metric),
        "activation_checkpointing": training.pop_setting("gradient_checkpointing", default=False),
        # The recipe has Hugging Face's names, so all other keys in common are copied.
        **{
            key: value
            for key in TrainingConfig.model_fields
            if (value := training.pop_setting(key)) is not None
        },
    }
    if precision_flags["fp16"]:
        notes.append(
            "fp16 needs a GPU and overflows in T5; `training.precision: bf16` has neither problem"
        )
    return values


def _convert_evaluation(training: SettingsSection, best_metric: str) -> dict[str, Any]:
    """Convert the metrics to the `evaluation` section.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it.
        best_metric: Metric that selects the best checkpoint, in the recipe's name; it is added to
            the metrics.
    """
    metric_names = training.pop_setting("metric_name", default="sacrebleu,chrf")
    if isinstance(metric_names, str):
        metric_names = metric_names.split(",")
    metrics = [_METRIC_NAMES.get(name.strip(), name.strip()) for name in metric_names]
    # `token_loss` is computed in every evaluation and is no name of a metric in the recipe.
    best_metrics = [] if best_metric == "token_loss" else [best_metric]
    return {"metrics": list(dict.fromkeys([*metrics, *best_metrics]))}


def _convert_generation(
    training: SettingsSection, model: SettingsSection, notes: list[str]
) -> dict[str, Any]:
    """Convert the number of beams and the output length to the `generation` section.

    The converted settings are removed from `training` and `model`.

    Args:
        training: The `training` section of MultimodalHugs.
        model: The `model` section of MultimodalHugs.
        notes: List to which remarks are appended.
    """
    num_beams = training.pop_setting("generation_num_beams", "num_beams")
    max_length = training.pop_setting("generation_max_length") or model.pop_setting("max_length")
    notes.append("the number of beams takes effect; MultimodalHugs ignored it")
    values = {"num_beams": num_beams, "max_new_tokens": max_length}
    return {key: value for key, value in values.items() if value}
