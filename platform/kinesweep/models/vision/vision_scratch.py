"""Vision models from scratch: builds and checks a configuration from the recipe's keys.

Hugging Face accepts unknown keys silently, so a sweep over a misspelled key would vary nothing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoConfig

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import ConfigError, format_one_line
from kinesweep.features.encoders.signhiera import HieraGeometry, SignHiera
from kinesweep.models.backbones.scratch import list_allowed_keys

_SCRATCH_PATH = "model.vision.scratch"
_GEOMETRY_KEYS = tuple(field.name for field in dataclasses.fields(HieraGeometry))


def build_geometry(values: Mapping[str, Any]) -> HieraGeometry:
    """Build the size of a SignHiera from plain values.

    Raises:
        ConfigError: If a key is unknown or a value cannot be used; all unknown keys are listed.
    """
    problems = [
        (f"{_SCRATCH_PATH}.{key}", f"unknown{suggest_closest_word(key, _GEOMETRY_KEYS)}")
        for key in values
        if key not in _GEOMETRY_KEYS
    ]
    if problems:
        raise ConfigError("the model", problems)
    plain: dict[str, Any] = dict(values)
    if isinstance(plain.get("stage_depths"), list):
        plain["stage_depths"] = tuple(plain["stage_depths"])
    try:
        geometry = HieraGeometry(**plain)
        # Finds sizes that do not fit together without allocating memory.
        with torch.device("meta"):
            SignHiera(geometry)
    except (AssertionError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        text = f"cannot be built: {format_one_line(error)}"
        raise ConfigError("the model", [(_SCRATCH_PATH, text)]) from None
    return geometry


def build_hf_config(scratch: Mapping[str, Any]) -> Any:
    """Build the Hugging Face configuration of a vision model from scratch.

    Raises:
        ConfigError: If the model type or a key is unknown, or the model rejects a value.
    """
    model_type = str(scratch["model_type"])
    keys = {key: value for key, value in scratch.items() if key != "model_type"}
    problems = _find_scratch_problems(model_type, keys)
    if problems:
        raise ConfigError("the model", problems)
    try:
        return AutoConfig.for_model(model_type, **keys)
    except Exception as error:  # each architecture validates its values in its own way
        text = f"cannot be built: {format_one_line(error)}"
        raise ConfigError("the model", [(_SCRATCH_PATH, text)]) from None


def _find_scratch_problems(model_type: str, keys: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find what is wrong with a model type and keys, as pairs of a dotted path and a problem."""
    path = f"{_SCRATCH_PATH}.model_type"
    if model_type not in CONFIG_MAPPING:
        hint = suggest_closest_word(model_type, list(CONFIG_MAPPING))
        return [(path, f"`{model_type}` is not a Hugging Face model type{hint}")]
    config_class = CONFIG_MAPPING[model_type]
    towers: Mapping[str, Any] = getattr(config_class, "sub_configs", {})
    if "vision_config" in towers:
        tower_type = getattr(towers["vision_config"], "model_type", "")
        return [(path, f"`{model_type}` also reads texts; use its image tower, `{tower_type}`")]
    if config_class not in MODEL_MAPPING:
        return [(path, f"a `{model_type}` cannot be built by itself; use a model such as `dinov2`")]
    allowed = list_allowed_keys(model_type)
    return [
        (
            f"{_SCRATCH_PATH}.{key}",
            f"unknown to `{model_type}`{suggest_closest_word(key, allowed)}",
        )
        for key in keys
        if key not in allowed
    ]
