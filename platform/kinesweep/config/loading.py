"""Configuration loading: reads YAML with `key.sub=value` overrides and returns a validated model.

OmegaConf reads the YAML (with interpolation) and pydantic validates it. All problems are reported
at once, each at its dotted path. Unknown keys are errors and never ignored, because a sweep over a
misspelt key would change nothing; the error suggests the closest known key.
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
_BOOL = "tag:yaml.org,2002:bool"
_OF_OTHERS = {
    "deepspeed": "DeepSpeed is not supported. Weights, gradients and optimizer state are sharded"
    " over the workers by `training.fsdp: true` with `resources.workers` of 2 or more; projectors"
    " saved by DeepSpeed (`mp_rank_00_model_states.pt`) are imported by `kinesweep convert`"
}
"""Keys that users bring from other tools → the alternative in Kinesweep."""
_RENAMED = {
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
    bad = [(item, "must have the form `key.sub=value`") for item in overrides if "=" not in item]
    if bad:
        raise ConfigError(str(path), bad)
    try:
        loaded = OmegaConf.create(_with_words_as_keys(text))
        laid_over = [_override(item) for item in overrides]
        # Interpolations are resolved after the merge, so they see the overridden values.
        merged = OmegaConf.merge(loaded, OmegaConf.from_dotlist(laid_over))
        plain = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, AssertionError) as error:
        # AssertionError: OmegaConf asserts that the YAML holds a mapping or a list.
        raise ConfigError(str(path), [("(file)", f"is not valid YAML: {error}")]) from None
    # OmegaConf turns an empty file into an empty mapping, so the text is checked as well.
    if not isinstance(plain, dict) or not text.strip():
        raise ConfigError(str(path), [("(file)", "must contain a mapping of keys to values")])
    return {str(key): value for key, value in plain.items()}


def _override(item: str) -> str:
    """Return an override with boolean-like keys in its value quoted."""
    path, _, value = item.partition("=")
    return f"{path}={_with_words_as_keys(value)}"


def _with_words_as_keys(text: str) -> str:
    """Return the YAML text with keys such as `on` and `yes` in quotes.

    YAML 1.1 reads these words as booleans, but configuration keys are always strings.

    Raises:
        YAMLError: If the text is not valid YAML.
    """
    # A set, because a key below a YAML anchor is reached once through each of its aliases.
    places = {
        (key.start_mark.index, key.end_mark.index)
        for key in _keys(yaml.compose(text, Loader=yaml.SafeLoader))
        if key.tag == _BOOL and key.style is None
    }
    # From the end to the start, so that inserted quotes do not shift the remaining positions.
    for start, end in sorted(places, reverse=True):
        text = f"{text[:start]}'{text[start:end]}'{text[end:]}"
    return text


def _keys(node: Any) -> Iterator[Any]:
    """Yield the key nodes of all mappings at and below a YAML node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _keys(value)


def validate(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Validate plain values against a pydantic model.

    Args:
        model: The configuration class.
        values: Plain values, as read from YAML.
        where: Name of the file or other origin, for the error message.

    Raises:
        ConfigError: If validation fails; lists every problem at its dotted path.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(model, values, item) for item in error.errors()]
        # Members of a union may report the same problem, which is shown once, in its first place.
        raise ConfigError(where, list(dict.fromkeys(problems))) from None


def load(model: type[M], path: Path, overrides: Sequence[str] = ()) -> M:
    """Read and validate a configuration file.

    Args:
        model: The configuration class.
        path: The YAML file.
        overrides: Overrides such as `training.seed=7`.

    Raises:
        ConfigError: If the file is invalid; lists every problem at its dotted path.
    """
    return validate(model, read_yaml(path, overrides), str(path))


def set_by_path(values: dict[str, Any], path: str, value: object) -> None:
    """Set a value at a dotted path in nested mappings, in place; create missing mappings.

    Raises:
        InputError: If a part of the path holds a value that is not a mapping.
    """
    *parents, last = path.split(".")
    here = values
    for key in parents:
        nested = here.setdefault(key, {})
        if not isinstance(nested, dict):
            raise InputError(f"`{path}` cannot be set: `{key}` holds {nested!r}, not a mapping")
        here = nested
    here[last] = value


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean …?` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def suggest_alternative(word: str, known: Sequence[str]) -> str:
    """Return a hint for an unknown key: its replacement, the closest known key, or nothing."""
    last = word.rpartition(".")[2]  # `word` may be a dotted path, as in search spaces
    if (now := _RENAMED.get(last)) and any(one.rpartition(".")[2] == now for one in known):
        return f"; it is now called `{now}`"
    return f"; {_OF_OTHERS[last]}" if last in _OF_OTHERS else did_you_mean(word, known)


def _problem(model: type[BaseModel], values: Mapping[str, Any], item: Any) -> tuple[str, str]:
    """Convert one pydantic error into a dotted path and a message.

    Args:
        model: The class that was validated.
        values: The values that were validated.
        item: One element of `ValidationError.errors()`.
    """
    location = _readable(item["loc"], values, item["type"])
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    if item["type"] == "extra_forbidden":
        known = _keys_beside(model, item["loc"])
        return path, f"unknown{suggest_alternative(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return path, "missing"
    # For a wrong or missing union tag, pydantic reports the section instead of its key `kind`.
    if item["type"] == "union_tag_invalid":
        tags = item["ctx"]
        return f"{path}.kind", f"must be one of {tags['expected_tags']}, but is {tags['tag']!r}"
    if item["type"] == "union_tag_not_found":
        return f"{path}.kind", "missing"
    # pydantic puts this prefix before the ValueErrors of validators.
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = item.get("input")
    plain = isinstance(shown, str | int | float | bool) or shown is None
    # Mappings and lists are not repeated: a whole section would hide the message.
    return path or "(file)", f"{message}, but is {shown!r}" if plain and path else message


def _readable(location: Sequence[str | int], values: object, kind: str) -> list[str | int]:
    """Return an error's location without the tags that pydantic inserts for union members.

    Args:
        location: Location of the error as pydantic reports it.
        values: The values that were validated.
        kind: Type of the pydantic error.
    """
    shown: list[str | int] = []
    here = values
    # Walk down the values: a part that is not in them is a tag, not a key that the user wrote.
    for index, part in enumerate(location):
        inside = isinstance(here, Mapping) and part in here
        inside |= isinstance(here, list) and isinstance(part, int) and part < len(here)
        if inside:
            here = here[part]  # type: ignore[index]
            shown.append(part)
        # The last part of a `missing` error is a real key, although the values lack it.
        elif index == len(location) - 1 and isinstance(here, Mapping) and kind == "missing":
            shown.append(part)
    return shown


def _keys_beside(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the field names of the models that an unknown key could belong to."""
    # There are several candidates where a field may hold one of several models.
    candidates: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        inner: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            inner += _models_in(field.annotation) if field else []
            # Not a field but a union tag: it selects the member with this `kind`.
            if field is None and _tag_of(candidate) == part:
                inner.append(candidate)
        candidates = inner or candidates
    return [name for candidate in candidates for name in candidate.model_fields]


def _tag_of(model: type[BaseModel]) -> object:
    """Return the default `kind` of a member of a tagged union, or None."""
    field = model.model_fields.get("kind")
    return field.default if field else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Return every pydantic model in a type annotation, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]
