"""Configuration loading: reads YAML with `key.sub=value` overrides and returns a validated model.

OmegaConf reads the YAML (with interpolation) and pydantic validates it. All problems are reported
at once, each at its dotted path. Unknown keys are errors and never ignored, because a sweep over a
misspelled key would change nothing; the error suggests the closest known key.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml import YAMLError

from kinesweep.core.errors import ConfigError, InputError

M = TypeVar("M", bound=BaseModel)

# Tag that PyYAML gives to unquoted words such as `on`, `yes` and `true`.
_YAML_BOOL_TAG = "tag:yaml.org,2002:bool"
_FOREIGN_KEY_HINTS = {
    "deepspeed": "DeepSpeed is not supported. Weights, gradients and optimizer state are sharded"
    " over the workers by `training.fsdp: true` with `resources.workers` of 2 or more; projectors"
    " saved by DeepSpeed (`mp_rank_00_model_states.pt`) are imported by `kinesweep convert`"
}
"""Keys that users bring from other tools → the alternative in Kinesweep."""
_RENAMED_KEYS = {
    "clips": "batch_size",
    "max_stream_frames": "truncate_frames",
    "paraphrases": "reference_choice",
    "complete": "required_splits",
    "reserve_tokens": "reserved_text_tokens",
    "end_token": "append_eos",
    "learned": "neural_metrics",
    "search": "during_training",
    "prelude": "document_start",
    "generation": "decoding_context",
    "after": "suffix",
    "times": "time_unit",
    "weight": "sampling_weight",
    "scheduler": "pruner",
    "grace_evaluations": "grace_period",
    "reduction": "reduction_factor",
    "sanity": "sanity_baselines",
    "why": "rationale",
}
"""Keys of earlier versions → their names today."""


class StrictConfig(BaseModel):
    """Base class of all configuration: immutable, rejects unknown keys, validates defaults too."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML file into plain values and apply `key.sub=value` overrides.

    Args:
        path: The YAML file.
        overrides: Overrides such as `training.seed=7`; values are parsed as YAML.

    Raises:
        ConfigError: If the file cannot be read, is not YAML or not a mapping, or if an override has
            no `=`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [("(file)", f"cannot be read: {error}")]) from None
    invalid_overrides = [
        (item, "must have the form `key.sub=value`") for item in overrides if "=" not in item
    ]
    if invalid_overrides:
        raise ConfigError(str(path), invalid_overrides)
    try:
        file_config = OmegaConf.create(_quote_boolean_keys(text))
        quoted_overrides = [_quote_override(item) for item in overrides]
        # Interpolations are resolved after the merge, so they see the overridden values.
        merged = OmegaConf.merge(file_config, OmegaConf.from_dotlist(quoted_overrides))
        config_values = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, AssertionError) as error:
        # AssertionError: OmegaConf asserts that the YAML holds a mapping or a list.
        raise ConfigError(str(path), [("(file)", f"is not valid YAML: {error}")]) from None
    # OmegaConf turns an empty file into an empty mapping, so the text is checked as well.
    if not isinstance(config_values, dict) or not text.strip():
        raise ConfigError(str(path), [("(file)", "must contain a mapping of keys to values")])
    return {str(key): value for key, value in config_values.items()}


def _quote_override(item: str) -> str:
    """Quote the boolean-like keys in the value of an override and return the override."""
    path, _, value = item.partition("=")
    return f"{path}={_quote_boolean_keys(value)}"


def _quote_boolean_keys(text: str) -> str:
    """Quote keys such as `on` and `yes` in a YAML text and return the text.

    YAML 1.1 reads these words as booleans, but configuration keys are always strings.

    Raises:
        YAMLError: If the text is not valid YAML.
    """
    # A set, because a key below a YAML anchor is reached once through each of its aliases.
    key_spans = {
        (key.start_mark.index, key.end_mark.index)
        for key in _iter_key_nodes(yaml.compose(text, Loader=yaml.SafeLoader))
        if key.tag == _YAML_BOOL_TAG and key.style is None
    }
    # From the end to the start, so that inserted quotes do not shift the remaining positions.
    for start, end in sorted(key_spans, reverse=True):
        text = f"{text[:start]}'{text[start:end]}'{text[end:]}"
    return text


def _iter_key_nodes(node: Any) -> Iterator[Any]:
    """Yield the key nodes of all mappings at and below a YAML node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _iter_key_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _iter_key_nodes(value)


def validate_config(model: type[M], values: Mapping[str, Any], origin: str) -> M:
    """Validate plain values against a pydantic model and return the model instance.

    Args:
        model: The configuration class.
        values: Plain values, as read from YAML.
        origin: Name of the file or other origin, for the error message.

    Raises:
        ConfigError: If validation fails; lists every problem at its dotted path.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_format_problem(model, values, item) for item in error.errors()]
        # Members of a union may report the same problem, which is shown once, in its first place.
        raise ConfigError(origin, list(dict.fromkeys(problems))) from None


def load_config(model: type[M], path: Path, overrides: Sequence[str] = ()) -> M:
    """Read a YAML configuration file, apply overrides and return the validated model.

    Args:
        model: The configuration class.
        path: The YAML file.
        overrides: Overrides such as `training.seed=7`.

    Raises:
        ConfigError: If the file is invalid; lists every problem at its dotted path.
    """
    return validate_config(model, read_yaml(path, overrides), str(path))


def set_by_path(values: dict[str, Any], path: str, value: object) -> None:
    """Set a value at a dotted path in nested mappings, in place; create missing mappings.

    Raises:
        InputError: If a part of the path holds a value that is not a mapping.
    """
    *parents, last_key = path.split(".")
    mapping = values
    for key in parents:
        nested = mapping.setdefault(key, {})
        if not isinstance(nested, dict):
            raise InputError(f"`{path}` cannot be set: `{key}` holds {nested!r}, not a mapping")
        mapping = nested
    mapping[last_key] = value


def suggest_closest_word(word: str, candidates: Sequence[str]) -> str:
    """Return `; did you mean …?` for the closest known word, or an empty string."""
    matches = difflib.get_close_matches(word, candidates, n=1)
    return f"; did you mean `{matches[0]}`?" if matches else ""


def suggest_alternative(word: str, candidates: Sequence[str]) -> str:
    """Return a hint for an unknown key: its replacement, the closest known key, or nothing."""
    last_part = word.rpartition(".")[2]  # `word` may be a dotted path, as in search spaces
    if (new_name := _RENAMED_KEYS.get(last_part)) and any(
        candidate.rpartition(".")[2] == new_name for candidate in candidates
    ):
        return f"; it is now called `{new_name}`"
    return (
        f"; {_FOREIGN_KEY_HINTS[last_part]}"
        if last_part in _FOREIGN_KEY_HINTS
        else suggest_closest_word(word, candidates)
    )


def _format_problem(
    model: type[BaseModel], values: Mapping[str, Any], error: Any
) -> tuple[str, str]:
    """Convert one pydantic error into a dotted path and a message.

    Args:
        model: The class that was validated.
        values: The values that were validated.
        error: One element of `ValidationError.errors()`.
    """
    location = _strip_union_tags(error["loc"], values, error["type"])
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    if error["type"] == "extra_forbidden":
        candidates = _list_candidate_keys(model, error["loc"])
        return path, f"unknown{suggest_alternative(str(error['loc'][-1]), candidates)}"
    if error["type"] == "missing":
        return path, "missing"
    # For a wrong or missing union tag, pydantic reports the section instead of its key `kind`.
    if error["type"] == "union_tag_invalid":
        tags = error["ctx"]
        return f"{path}.kind", f"must be one of {tags['expected_tags']}, but is {tags['tag']!r}"
    if error["type"] == "union_tag_not_found":
        return f"{path}.kind", "missing"
    # pydantic puts this prefix before the ValueErrors of validators.
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    input_value = error.get("input")
    is_scalar = isinstance(input_value, str | int | float | bool) or input_value is None
    # Mappings and lists are not repeated: a whole section would hide the message.
    return path or "(file)", f"{message}, but is {input_value!r}" if is_scalar and path else message


def _strip_union_tags(
    location: Sequence[str | int], values: object, error_type: str
) -> list[str | int]:
    """Remove the tags that pydantic inserts for union members from an error's location.

    Args:
        location: Location of the error as pydantic reports it.
        values: The values that were validated.
        error_type: Type of the pydantic error.
    """
    key_path: list[str | int] = []
    current_value = values
    # Walk down the values: a part that is not in them is a tag, not a key that the user wrote.
    for index, part in enumerate(location):
        is_key = isinstance(current_value, Mapping) and part in current_value
        is_key |= (
            isinstance(current_value, list) and isinstance(part, int) and part < len(current_value)
        )
        if is_key:
            current_value = current_value[part]  # type: ignore[index]
            key_path.append(part)
        # The last part of a `missing` error is a real key, although the values lack it.
        elif (
            index == len(location) - 1
            and isinstance(current_value, Mapping)
            and error_type == "missing"
        ):
            key_path.append(part)
    return key_path


def _list_candidate_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """List the field names of all models to which an unknown key could belong."""
    # There are several candidates where a field may hold one of several models.
    candidates: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        nested_models: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            nested_models += _find_models(field.annotation) if field else []
            # Not a field but a union tag: it selects the member with this `kind`.
            if field is None and _get_union_tag(candidate) == part:
                nested_models.append(candidate)
        candidates = nested_models or candidates
    return [name for candidate in candidates for name in candidate.model_fields]


def _get_union_tag(model: type[BaseModel]) -> object:
    """Return the union tag of a model, the default of its field `kind`, or None."""
    field = model.model_fields.get("kind")
    return field.default if field else None


def _find_models(annotation: object) -> list[type[BaseModel]]:
    """Find every pydantic model in a type annotation, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _find_models(arg)]
