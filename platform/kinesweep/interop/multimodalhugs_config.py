"""Conversion of MultimodalHugs YAML settings, of any version, into a recipe.

Settings in the file are converted; settings that it omits get MultimodalHugs' defaults where they
differ from Kinesweep's (no standardization; norms, dropout and activation off). Keys without an
equivalent are listed with a reason each; impossible values raise the recipe's own errors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.loading import read_yaml, validate
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.errors import InputError
from kinesweep.interop.config_reader import Section
from kinesweep.interop.multimodalhugs_processor import flat_processor
from kinesweep.interop.multimodalhugs_unsupported import explain_unsupported_key

# MultimodalHugs' mapper → kind of encoder; other names are left to the recipe's validation.
_ENCODERS = {"linear": "linear", "cnn_adapter": "cnn", "adapter": "adapter"}
# The recipe calls these metrics by other names.
_METRICS = {"sacrebleu": "bleu", "loss": "token_loss"}
_FREEZE = {
    "freeze_multimodal_mapper": "encoder",
    "freeze_vl_mapper": "encoder",
    "freeze_backbone": "backbone",
    "freeze_encoder_embed_tokens": "embeddings",
    "freeze_decoder_embed_tokens": "embeddings",
    "freeze_lm_head": "lm_head",
}


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Attributes:
        recipe: The converted recipe.
        left: Dotted key that was not converted → its value and the reason.
        notes: Remarks on settings that were converted but behave differently.
    """

    recipe: Recipe
    left: dict[str, str]
    notes: tuple[str, ...]


def convert_settings(path: Path) -> Converted:
    """Convert a MultimodalHugs YAML file.

    Args:
        path: The settings file.

    Raises:
        ConfigError: If the file cannot be read or gives an invalid recipe; lists all problems.
        InputError: If the settings are not for a pose-to-text model.
    """
    plain = read_yaml(path)
    data, model, training = (
        Section(name, plain.pop(name, None)) for name in ("data", "model", "training")
    )
    processor = flat_processor(plain.pop("processor", None))
    # No key of these sections has an equivalent, so all of them are reported as not converted.
    rest = Section(
        "common", {**(plain.pop("common", None) or {}), **(plain.pop("setup", None) or {})}
    )
    notes: list[str] = []
    name = training.take("run_name") or model.take("name", "model_name") or path.stem
    learnt = _training(training, notes)
    values = {
        # Names of recipes allow only these characters.
        "name": "".join(c if c.isalnum() or c in "_.-" else "_" for c in str(name)),
        "source": _source(data, processor),
        "features": _features(processor),
        "batch": _batch(data, training),
        "model": _model(model, data, processor, notes),
        "training": learnt,
        "evaluation": _evaluation(training, learnt["metric_for_best_model"]),
        "generation": _generation(training, model, notes),
    }
    # Every section has been read by now; what remains in it has no equivalent.
    sections = (data, model, training, processor, rest)
    unread = {**{k: v for part in sections for k, v in part.left().items()}, **plain}
    left = {key: f"{value!r}, {explain_unsupported_key(key)}" for key, value in unread.items()}
    return Converted(validate(Recipe, values, f"the recipe of {path}"), left, tuple(notes))


def _source(data: Section, processor: Section) -> dict[str, Any]:
    """Convert the tables of the splits and the time unit of segments."""
    splits = {
        split: data.take(f"{split}_metadata_file", f"{split}_metadata_dir")
        for split in ("train", "validation", "test")
    }
    unit = str(processor.take("signal_start_end_unit", default="milliseconds")).lower()
    times = "frames" if "frame" in unit else "ms"
    return {"kind": "pose_tsv", **{k: v for k, v in splits.items() if v}, "time_unit": times}


def _features(processor: Section) -> dict[str, Any]:
    """Convert the selection of points and frames."""
    reduced = processor.take("reduce_holistic_poses", default=True)
    stride = processor.take("skip_frames_stride") or 1  # null means every frame
    return {"points": "holistic_178" if reduced else "all", "stride": stride}


def _batch(data: Section, training: Section) -> dict[str, Any]:
    """Convert the batch size and the limits of clip lengths."""
    return {
        # 8 is the default of Hugging Face's `TrainingArguments`.
        "batch_size": training.take("per_device_train_batch_size", default=8),
        "min_clip_frames": data.take("min_frames") or 1,
        "max_clip_frames": data.take("max_frames"),
        "loader_workers": training.take("dataloader_num_workers", default=0),
    }


def _model(model: Section, data: Section, processor: Section, notes: list[str]) -> dict[str, Any]:
    """Convert encoder, backbone, tokenizer and frozen parts; append remarks to `notes`."""
    if model.take("feature_extractor_type"):
        raise InputError(
            "only settings of pose-to-text models can be converted, but"
            " `model.feature_extractor_type` reads images"
        )
    # A set, because current and former names of a setting freeze the same part.
    frozen = {part for key, part in _FREEZE.items() if model.take(key)}
    pretrained = model.take("pretrained_backbone")
    architecture = model.take("backbone_type", "backbone_name", default="m2m_100")
    scratch = model.take("backbone_config") or {}
    backbone = {"scratch": {"architecture": architecture, **scratch}}
    if pretrained:
        backbone = {"pretrained": pretrained}
        if scratch:
            notes.append(
                "`model.backbone_config` is not used; a pretrained backbone keeps its own config"
            )
    return {
        "encoder": _encoder(model, notes),
        "backbone": backbone,
        "tokenizer": _tokenizer(data, processor, pretrained, notes),
        "freeze": sorted(frozen),
    }


def _encoder(model: Section, notes: list[str]) -> dict[str, Any]:
    """Convert the multimodal mapper into an encoder; append remarks to `notes`."""
    kind = model.take("multimodal_mapper_type", "vl_mapper_type", default="linear")

    def mapper(name: str) -> Any:
        return model.take(f"multimodal_mapper_{name}", f"vl_mapper_{name}")

    encoder: dict[str, Any] = {
        "kind": _ENCODERS.get(str(kind), kind),
        "standardize": False,
        "norm_in": bool(mapper("layer_norm_before")),
        "dropout": mapper("dropout") or 0.0,
    }
    norm_out, active = bool(mapper("layer_norm")), bool(mapper("activation"))
    # Taken for all kinds, so that none of them is reported as an unknown key.
    factor = mapper("factor") or model.take("vl_factor")
    kernels, strides = model.take("adapter_ksize"), model.take("adapter_stride")
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


def _tokenizer(
    data: Section, processor: Section, pretrained: str | None, notes: list[str]
) -> dict[str, Any]:
    """Convert the tokenizer and its new tokens; append remarks to `notes`."""
    names = ("text_tokenizer_path", "tokenizer_path")
    path = processor.take(*names) or data.take(*names)
    tokens = processor.take("new_vocabulary") or data.take(
        "new_vocabulary", "tokenizer_src_langs_path"
    )
    if not pretrained:
        notes.append("a backbone from scratch gets a tokenizer trained on the corpus's texts")
        return {"kind": "train", **({"new_tokens": tokens} if tokens else {})}
    if path and path != pretrained:
        notes.append(f"the tokenizer of `{pretrained}` is used instead of `{path}`")
    return {"kind": "pretrained", **({"new_tokens": tokens} if tokens else {})}


def _training(training: Section, notes: list[str]) -> dict[str, Any]:
    """Convert the training arguments; append remarks to `notes`."""
    half = {name: training.take(name) for name in ("fp16", "bf16")}
    # Hugging Face prefixes the metrics of evaluations with `eval_`.
    metric = str(training.take("metric_for_best_model", default="bleu")).removeprefix("eval_")
    found = {
        "precision": next((name for name, wanted in half.items() if wanted), "fp32"),
        "metric_for_best_model": _METRICS.get(metric, metric),
        "activation_checkpointing": training.take("gradient_checkpointing", default=False),
        # The recipe has Hugging Face's names, so all other keys in common are copied.
        **{
            key: value
            for key in TrainingConfig.model_fields
            if (value := training.take(key)) is not None
        },
    }
    if half["fp16"]:
        notes.append(
            "fp16 needs a GPU and overflows in T5; `training.precision: bf16` has neither problem"
        )
    return found


def _evaluation(training: Section, best: str) -> dict[str, Any]:
    """Convert the metrics, with the one that selects the best checkpoint."""
    named = training.take("metric_name", default="sacrebleu,chrf")
    listed = named.split(",") if isinstance(named, str) else list(named)
    metrics = [_METRICS.get(name.strip(), name.strip()) for name in listed]
    # `token_loss` is computed in every evaluation and is no name of a metric in the recipe.
    chosen = [] if best == "token_loss" else [best]
    return {"metrics": list(dict.fromkeys([*metrics, *chosen]))}


def _generation(training: Section, model: Section, notes: list[str]) -> dict[str, Any]:
    """Convert beam size and output length; append remarks to `notes`."""
    beams = training.take("generation_num_beams", "num_beams")
    length = training.take("generation_max_length") or model.take("max_length")
    notes.append("the number of beams takes effect; MultimodalHugs ignored it")
    asked = {"num_beams": beams, "max_new_tokens": length}
    return {key: value for key, value in asked.items() if value}
