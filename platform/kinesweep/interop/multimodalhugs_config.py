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
from kinesweep.core.errors import InputError
from kinesweep.interop.config_reader import SettingsSection
from kinesweep.interop.multimodalhugs_processor import flatten_processor
from kinesweep.interop.multimodalhugs_unsupported import explain_unsupported_key

# MultimodalHugs' mapper → kind of encoder; other names are left to the recipe's validation.
_ENCODER_KINDS = {"linear": "linear", "cnn_adapter": "cnn", "adapter": "adapter"}
# The recipe calls these metrics by other names.
_METRIC_NAMES = {"sacrebleu": "bleu", "loss": "token_loss"}
_FREEZE_KEYS = {
    "freeze_multimodal_mapper": "encoder",
    "freeze_vl_mapper": "encoder",
    "freeze_backbone": "backbone",
    "freeze_encoder_embed_tokens": "embeddings",
    "freeze_decoder_embed_tokens": "embeddings",
    "freeze_lm_head": "lm_head",
}


@dataclass(frozen=True)
class Converted:
    """The result of converting settings.

    Attributes:
        recipe: The converted recipe.
        unconverted: Dotted key that was not converted → its value and the reason.
        notes: Remarks on settings that were converted but behave differently.
    """

    recipe: Recipe
    unconverted: dict[str, str]
    notes: tuple[str, ...]


def convert_settings(path: Path) -> Converted:
    """Convert a MultimodalHugs YAML file into a recipe.

    Args:
        path: The settings file.

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
        "name": "".join(c if c.isalnum() or c in "_.-" else "_" for c in str(name)),
        "source": _convert_source(data, processor),
        "features": _convert_features(processor),
        "batch": _convert_batch(data, training),
        "model": _convert_model(model, data, processor, notes),
        "training": training_values,
        "evaluation": _convert_evaluation(training, training_values["metric_for_best_model"]),
        "generation": _convert_generation(training, model, notes),
    }
    # Every section has been read by now; what remains in it has no equivalent.
    sections = (data, model, training, processor, ignored_section)
    unread = {
        **{k: v for section in sections for k, v in section.get_unread_settings().items()},
        **settings,
    }
    unconverted = {
        key: f"{value!r}, {explain_unsupported_key(key)}" for key, value in unread.items()
    }
    return Converted(
        validate_config(Recipe, values, f"the recipe of {path}"), unconverted, tuple(notes)
    )


def _convert_source(data: SettingsSection, processor: SettingsSection) -> dict[str, Any]:
    """Convert the tables of the splits and the time unit of segments."""
    splits = {
        split: data.pop_setting(f"{split}_metadata_file", f"{split}_metadata_dir")
        for split in ("train", "validation", "test")
    }
    unit = str(processor.pop_setting("signal_start_end_unit", default="milliseconds")).lower()
    time_unit = "frames" if "frame" in unit else "ms"
    return {"kind": "pose_tsv", **{k: v for k, v in splits.items() if v}, "time_unit": time_unit}


def _convert_features(processor: SettingsSection) -> dict[str, Any]:
    """Convert the selection of points and frames."""
    reduce_points = processor.pop_setting("reduce_holistic_poses", default=True)
    stride = processor.pop_setting("skip_frames_stride") or 1  # null means every frame
    return {"points": "holistic_178" if reduce_points else "all", "stride": stride}


def _convert_batch(data: SettingsSection, training: SettingsSection) -> dict[str, Any]:
    """Convert the batch size and the limits of clip lengths."""
    return {
        # 8 is the default of Hugging Face's `TrainingArguments`.
        "batch_size": training.pop_setting("per_device_train_batch_size", default=8),
        "min_clip_frames": data.pop_setting("min_frames") or 1,
        "max_clip_frames": data.pop_setting("max_frames"),
        "loader_workers": training.pop_setting("dataloader_num_workers", default=0),
    }


def _convert_model(
    model: SettingsSection, data: SettingsSection, processor: SettingsSection, notes: list[str]
) -> dict[str, Any]:
    """Convert encoder, backbone, tokenizer and frozen parts; append remarks to `notes`."""
    if model.pop_setting("feature_extractor_type"):
        raise InputError(
            "only settings of pose-to-text models can be converted, but"
            " `model.feature_extractor_type` reads images"
        )
    # A set, because current and former names of a setting freeze the same part.
    frozen = {part for key, part in _FREEZE_KEYS.items() if model.pop_setting(key)}
    pretrained = model.pop_setting("pretrained_backbone")
    architecture = model.pop_setting("backbone_type", "backbone_name", default="m2m_100")
    scratch_config = model.pop_setting("backbone_config") or {}
    backbone = {"scratch": {"architecture": architecture, **scratch_config}}
    if pretrained:
        backbone = {"pretrained": pretrained}
        if scratch_config:
            notes.append(
                "`model.backbone_config` is not used; a pretrained backbone keeps its own config"
            )
    return {
        "encoder": _convert_encoder(model, notes),
        "backbone": backbone,
        "tokenizer": _convert_tokenizer(data, processor, pretrained, notes),
        "freeze": sorted(frozen),
    }


def _convert_encoder(model: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the multimodal mapper into an encoder; append remarks to `notes`."""
    kind = model.pop_setting("multimodal_mapper_type", "vl_mapper_type", default="linear")

    def pop_mapper_setting(name: str) -> Any:
        return model.pop_setting(f"multimodal_mapper_{name}", f"vl_mapper_{name}")

    encoder: dict[str, Any] = {
        "kind": _ENCODER_KINDS.get(str(kind), kind),
        "standardize": False,
        "norm_in": bool(pop_mapper_setting("layer_norm_before")),
        "dropout": pop_mapper_setting("dropout") or 0.0,
    }
    norm_out, active = (
        bool(pop_mapper_setting("layer_norm")),
        bool(pop_mapper_setting("activation")),
    )
    # Read for all kinds, so that none of them is reported as an unknown key.
    factor = pop_mapper_setting("factor") or model.pop_setting("vl_factor")
    kernels, strides = model.pop_setting("adapter_ksize"), model.pop_setting("adapter_stride")
    if kind == "linear":
        encoder |= {"norm_out": norm_out, "activation": "relu" if active else "none"}
    if kind == "adapter":
        encoder |= {"norm_out": norm_out}
        notes.append(
            "the `adapter` of MultimodalHugs had no weights and no effect; the converted one has"
            " weights"
        )
    if kind == "cnn_adapter":
        encoder |= {"kernels": kernels or (3, 3), "strides": strides or (2, 2)}
        notes.append("a norm and an activation after the convolutions are not converted")
    if factor and kind != "linear":
        notes.append(
            f"the mapper factor {factor} sets widths in another way and is not converted; see"
            " `model.encoder`"
        )
    return encoder


def _convert_tokenizer(
    data: SettingsSection, processor: SettingsSection, pretrained: str | None, notes: list[str]
) -> dict[str, Any]:
    """Convert the tokenizer and its new tokens; append remarks to `notes`."""
    names = ("text_tokenizer_path", "tokenizer_path")
    path = processor.pop_setting(*names) or data.pop_setting(*names)
    tokens = processor.pop_setting("new_vocabulary") or data.pop_setting(
        "new_vocabulary", "tokenizer_src_langs_path"
    )
    if not pretrained:
        notes.append("a backbone from scratch gets a tokenizer trained on the corpus's texts")
        return {"kind": "train", **({"new_tokens": tokens} if tokens else {})}
    if path and path != pretrained:
        notes.append(f"the tokenizer of `{pretrained}` is used instead of `{path}`")
    return {"kind": "pretrained", **({"new_tokens": tokens} if tokens else {})}


def _convert_training(training: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the training arguments; append remarks to `notes`."""
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


def _convert_evaluation(training: SettingsSection, best: str) -> dict[str, Any]:
    """Convert the metrics, with the one that selects the best checkpoint."""
    metric_names = training.pop_setting("metric_name", default="sacrebleu,chrf")
    name_list = metric_names.split(",") if isinstance(metric_names, str) else list(metric_names)
    metrics = [_METRIC_NAMES.get(name.strip(), name.strip()) for name in name_list]
    # `token_loss` is computed in every evaluation and is no name of a metric in the recipe.
    best_metrics = [] if best == "token_loss" else [best]
    return {"metrics": list(dict.fromkeys([*metrics, *best_metrics]))}


def _convert_generation(
    training: SettingsSection, model: SettingsSection, notes: list[str]
) -> dict[str, Any]:
    """Convert beam size and output length; append remarks to `notes`."""
    beams = training.pop_setting("generation_num_beams", "num_beams")
    length = training.pop_setting("generation_max_length") or model.pop_setting("max_length")
    notes.append("the number of beams takes effect; MultimodalHugs ignored it")
    values = {"num_beams": beams, "max_new_tokens": length}
    return {key: value for key, value in values.items() if value}
