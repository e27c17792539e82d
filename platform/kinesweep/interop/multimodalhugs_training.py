"""Conversion of MultimodalHugs' `training` section: steps, epochs, metrics, checkpoints, tracking.

The section holds arguments of Hugging Face's trainer. Arguments that are missing have the defaults
of the trainer, where these differ from the recipe's: three epochs, a linear schedule.
"""

import math
from typing import Any

from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.interop.settings_section import SettingsSection

# The recipe calls these metrics by other names.
_METRIC_NAMES = {"sacrebleu": "bleu", "loss": "token_loss"}
_RECIPE_METRICS = frozenset({"bleu", "chrf", "ter", "rouge", "meteor", "cider"})
"""Metrics that the recipe and the library evaluate call the same; others keep their library."""
_MINIMIZED_METRICS = frozenset({"wer", "cer", "perplexity", "charcut_mt", "character"})
"""Metrics of the library evaluate for which lower is better."""
# Values of `report_to` that stand for trackers of the recipe.
_TRACKERS = ("mlflow", "wandb", "tensorboard")
# Defaults of Hugging Face's trainer.
_DEFAULT_EPOCHS, _DEFAULT_LOGGING_STEPS, _DEFAULT_SCHEDULE = 3.0, 500, "linear"
_STEP_KEYS = ("max_steps", "warmup_steps", "eval_steps", "num_train_epochs", "warmup_ratio")


def convert_training(training: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the training arguments to the `training` section of a recipe.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it.
        notes: List to which remarks are appended.
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
        "lr_scheduler_type": training.pop_setting("lr_scheduler_type", default=_DEFAULT_SCHEDULE),
        **_convert_run_length(training, notes),
        # The recipe has Hugging Face's names, so all other keys in common are copied.
        **{
            key: value
            for key in TrainingConfig.model_fields
            if key not in _STEP_KEYS and (value := training.pop_setting(key)) is not None
        },
    }
    if values.get("fsdp"):
        # Hugging Face's value lists options such as `full_shard auto_wrap`.
        values["fsdp"] = True
    if precision_flags["fp16"]:
        notes.append(
            "fp16 needs a GPU and overflows in T5; `training.precision: bf16` has neither problem"
        )
    return values


def _convert_run_length(training: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the length of the run, of the warmup, and of the time between evaluations.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it,
            but not those that others override.
        notes: List to which remarks are appended.
    """
    # Not positive: not set, as in Hugging Face's trainer. There, steps override epochs.
    max_steps = training.pop_setting("max_steps", default=-1)
    values: dict[str, Any] = {}
    if max_steps > 0:
        values["max_steps"] = max_steps
    else:
        values["num_train_epochs"] = training.pop_setting(
            "num_train_epochs", default=_DEFAULT_EPOCHS
        )
    warmup_steps = training.pop_setting("warmup_steps", default=0)
    if warmup_steps >= 1:
        values["warmup_steps"] = math.ceil(warmup_steps)
    else:
        # Since version 5 of transformers, a share of all steps may be given as `warmup_steps`.
        ratio = warmup_steps or training.pop_setting("warmup_ratio", default=0)
        values |= {"warmup_ratio": ratio} if ratio else {"warmup_steps": 0}
    return {**values, **_convert_evaluation_interval(training, values, notes)}


def _convert_evaluation_interval(
    training: SettingsSection, length: dict[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Convert the time between evaluations, which also write checkpoints.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it.
        length: Converted length of the run.
        notes: List to which remarks are appended.
    """
    strategy = str(training.pop_setting("eval_strategy", "evaluation_strategy", default="no"))
    if strategy == "epoch":
        return {"eval_epochs": 1.0}
    if strategy not in ("steps", "no"):
        training.restore_setting("eval_strategy", strategy)
    steps = training.pop_setting("eval_steps")
    if strategy == "no" and steps is None:
        save_steps = training.pop_setting("save_steps")
        notes.append("the run is evaluated although `eval_strategy` is `no`; checkpoints need it")
        steps = save_steps
    if steps is None:
        # The default of `eval_steps` in Hugging Face's trainer.
        steps = training.peek_setting("logging_steps") or _DEFAULT_LOGGING_STEPS
    if steps >= 1:
        return {"eval_steps": math.ceil(steps)}
    # A share of all steps of the run.
    if "max_steps" in length:
        return {"eval_steps": math.ceil(length["max_steps"] * steps)}
    return {"eval_epochs": length["num_train_epochs"] * steps}


def convert_batch(
    data: SettingsSection, training: SettingsSection, has_frames: bool, stride: int
) -> dict[str, Any]:
    """Convert batch size, limits of clip lengths and loader workers to the `batch` section.

    The converted settings are removed from `data` and `training`.

    Args:
        data: The `data` section of MultimodalHugs.
        training: The `training` section of MultimodalHugs.
        has_frames: Whether the inputs have frames, which limits count; otherwise limits stay in
            `data`, because MultimodalHugs does not read them either.
        stride: Distance between kept frames; the limits count all frames.
    """
    limits = {
        key: data.pop_setting(key) if has_frames else None for key in ("min_frames", "max_frames")
    }
    drop_last = training.pop_setting("dataloader_drop_last", default=False)
    return {
        # 8 is the default of Hugging Face's `TrainingArguments`.
        "batch_size": training.pop_setting("per_device_train_batch_size", default=8),
        # Rounded up: the first frame of every `stride` frames is kept, also of the last few.
        "min_clip_frames": max(1, -(-(limits["min_frames"] or 1) // stride)),
        "max_clip_frames": limits["max_frames"] and -(-limits["max_frames"] // stride),
        "loader_workers": training.pop_setting("dataloader_num_workers", default=0),
        **({"drop_last": True} if drop_last else {}),
    }


def convert_augmentation(processor: SettingsSection, notes: list[str]) -> dict[str, Any]:
    """Convert the augmentation of poses to `batch.augmentation`; only noise has an equivalent.

    Settings without one stay in `processor`, so that they are reported.

    Args:
        processor: Settings of the pose processor.
        notes: List to which remarks are appended.
    """
    names = str(processor.pop_setting("data_augmentation_types", default="")).split(",")
    types = [name.strip() for name in names if name.strip()]
    if not types:
        return {}
    kwargs = dict(processor.pop_setting("data_augmentation_kwargs") or {})
    shares = dict(processor.pop_setting("augmentation_probabilities") or {})
    augmentation: dict[str, Any] = {}
    if "gaussian_noise" in types and not kwargs.get("noise_mean"):
        types.remove("gaussian_noise")
        augmentation["noise"] = kwargs.pop("noise_std", 0.01)
        kwargs.pop("noise_mean", None)
        share = shares.pop("gaussian_noise", 1.0)
        if share < 1:
            notes.append(f"noise is added to every clip, not to {share:g} of them")
    for key, rest in (
        ("data_augmentation_types", types),
        ("data_augmentation_kwargs", kwargs),
        ("augmentation_probabilities", shares),
    ):
        if rest:
            processor.restore_setting(key, rest)
    return augmentation


def convert_evaluation(
    training: SettingsSection, best_metric: str, notes: list[str]
) -> dict[str, Any]:
    """Convert the metrics to the `evaluation` section.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it.
        best_metric: Metric that selects the best checkpoint, in the recipe's name; it is added to
            the metrics.
        notes: List to which remarks are appended.
    """
    metric_names = training.pop_setting("metric_name", default="sacrebleu,chrf")
    if isinstance(metric_names, str):
        metric_names = metric_names.split(",")
    names = [_METRIC_NAMES.get(name.strip(), name.strip()) for name in metric_names]
    minimized = set(_MINIMIZED_METRICS)
    if training.peek_setting("greater_is_better") is False:
        minimized.add(best_metric)
    metrics = [name for name in names if name in _RECIPE_METRICS]
    extra_metrics = [
        {
            "kind": "evaluate",
            "name": name,
            "mode": "min" if name in minimized else "max",
        }
        for name in dict.fromkeys(names)
        if name not in _RECIPE_METRICS
    ]
    notes.extend(
        f"`{metric['name']}` is computed by the library evaluate; check its `mode`, and allow its"
        " script with `trust_remote_code: true` or name a local folder"
        for metric in extra_metrics
    )
    # `token_loss` is computed in every evaluation and is not listed in `evaluation.metrics`.
    if best_metric != "token_loss" and best_metric not in names:
        metrics.append(best_metric)
    values: dict[str, Any] = {"metrics": list(dict.fromkeys(metrics))}
    return {**values, "extra_metrics": extra_metrics} if extra_metrics else values


def convert_generation(
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
    # Each precedes the next; those that are overridden stay and are reported.
    max_length = (
        training.pop_setting("generation_max_length")
        or model.pop_setting("max_new_tokens")
        or model.pop_setting("max_length")
    )
    notes.append("the number of beams takes effect; MultimodalHugs ignored it")
    values = {"num_beams": num_beams, "max_new_tokens": max_length}
    return {key: value for key, value in values.items() if value}


def convert_checkpoints(training: SettingsSection) -> dict[str, Any]:
    """Convert the choice between the best and the last checkpoint to the `checkpoints` section.

    Args:
        training: The `training` section of MultimodalHugs; converted settings are removed from it.
    """
    is_best = training.pop_setting("load_best_model_at_end", default=True)
    return {} if is_best else {"checkpoints": {"keep": "last"}}


def convert_tracking(training: SettingsSection) -> dict[str, Any]:
    """Convert `report_to` to the `tracking` section; other trackers stay in `training`.

    Args:
        training: The `training` section of MultimodalHugs.
    """
    report_to = training.pop_setting("report_to")
    if report_to is None:
        return {}
    names = [report_to] if isinstance(report_to, str) else list(report_to)
    # In Hugging Face's trainer, `all` stands for all installed trackers.
    names = list(_TRACKERS) if names == ["all"] else names
    unknown = [name for name in names if name not in (*_TRACKERS, "none")]
    if unknown:
        training.restore_setting("report_to", report_to)
    known = [name for name in names if name in _TRACKERS]
    if names in (["none"], []):
        return {"tracking": "none"}
    if not known:
        return {}
    return {"tracking": known[0] if len(known) == 1 else known}
