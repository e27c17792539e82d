"""Configuration: YAML and `key.sub=value` overrides in, a checked model or every problem out.

OmegaConf reads the YAML (with interpolation), pydantic checks it; an unknown key is never dropped,
because a misspelt key would be a sweep over nothing. The near miss is named.
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

_BOOL = "tag:yaml.org,2002:bool"
_OF_OTHERS = {
    "deepspeed": "DeepSpeed is not supported. Weights, gradients and optimiser state are cut over"
    " workers by `training.fsdp: true` with `resources.workers` of 2 or more; projectors that"
    " DeepSpeed saved (`mp_rank_00_model_states.pt`) are taken over by `kinesweep convert`"
}
"""Keys that people bring from other tools → what there is instead."""


class Frozen(BaseModel):
    """Base of all configuration: immutable, unknown keys forbidden, defaults checked too."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML file as plain values, with `key.sub=value` overrides laid over it.

    Raises:
        ConfigError: not readable, not YAML, not a mapping, or an override without `=`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [("(file)", f"cannot be read: {error}")]) from None
    bad = [(item, "an override reads `key.sub=value`") for item in overrides if "=" not in item]
    if bad:
        raise ConfigError(str(path), bad)
    try:
        loaded = OmegaConf.create(_with_words_as_keys(text))
        laid_over = [_override(item) for item in overrides]
        merged = OmegaConf.merge(loaded, OmegaConf.from_dotlist(laid_over))
        plain = OmegaConf.to_container(merged, resolve=True)
    except (YAMLError, OmegaConfBaseException, ValueError, TypeError, AssertionError) as error:
        # OmegaConf asserts that the YAML holds a mapping or a list.
        raise ConfigError(str(path), [("(file)", f"is not valid YAML: {error}")]) from None
    if not isinstance(plain, dict) or not text.strip():
        raise ConfigError(str(path), [("(file)", "must hold a mapping of keys to values")])
    return {str(key): value for key, value in plain.items()}


def _override(item: str) -> str:
    """The same with keys that are words in its value."""
    path, _, value = item.partition("=")
    return f"{path}={_with_words_as_keys(value)}"


def _with_words_as_keys(text: str) -> str:
    """The same YAML with keys such as `on` and `yes` in quotes.

    YAML 1.1 takes them for true, which no key of ours is.

    Raises:
        YAMLError: it is none.
    """
    places = {
        (key.start_mark.index, key.end_mark.index)
        for key in _keys(yaml.compose(text, Loader=yaml.SafeLoader))
        if key.tag == _BOOL and key.style is None
    }
    for start, end in sorted(places, reverse=True):
        text = f"{text[:start]}'{text[start:end]}'{text[end:]}"
    return text


def _keys(node: Any) -> Iterator[Any]:
    """Keys of all mappings at and below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _keys(value)


def validate(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Checks plain values against a model.

    Raises:
        ConfigError: with every problem, each at its dotted path.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_problem(model, values, item) for item in error.errors()]
        raise ConfigError(where, list(dict.fromkeys(problems))) from None


def load(model: type[M], path: Path, overrides: Sequence[str] = ()) -> M:
    """Reads and checks a configuration file.

    Raises:
        ConfigError: with every problem, each at its dotted path.
    """
    return validate(model, read_yaml(path, overrides), str(path))


def put(values: dict[str, Any], path: str, value: object) -> None:
    """Sets a dotted path in nested mappings, making those that are missing.

    Raises:
        InputError: a part of the path holds a value that is not a mapping.
    """
    *parents, last = path.split(".")
    here = values
    for key in parents:
        nested = here.setdefault(key, {})
        if not isinstance(nested, dict):
            raise InputError(f"`{path}` cannot be set: `{key}` holds {nested!r}, not further keys")
        here = nested
    here[last] = value


def near_miss(word: str, known: Sequence[str]) -> str:
    """`; did you mean …?` or nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def instead_of(word: str, known: Sequence[str]) -> str:
    """What there is instead of an unknown key, or what it may have meant; or nothing."""
    last = word.rpartition(".")[2]
    return f"; {_OF_OTHERS[last]}" if last in _OF_OTHERS else near_miss(word, known)


def _problem(model: type[BaseModel], values: Mapping[str, Any], item: Any) -> tuple[str, str]:
    """One pydantic error as dotted path and text."""
    location = _readable(item["loc"], values, item["type"])
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    if item["type"] == "extra_forbidden":
        known = _keys_beside(model, item["loc"])
        return path, f"unknown{instead_of(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return path, "missing"
    if item["type"] == "union_tag_invalid":
        tags = item["ctx"]
        return f"{path}.kind", f"must be one of {tags['expected_tags']}, but is {tags['tag']!r}"
    if item["type"] == "union_tag_not_found":
        return f"{path}.kind", "missing"
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = item.get("input")
    plain = isinstance(shown, str | int | float | bool) or shown is None
    return path or "(file)", f"{message}, but is {shown!r}" if plain and path else message


def _readable(location: Sequence[str | int], values: object, kind: str) -> list[str | int]:
    """An error's location without the tags that pydantic inserts for members of a union."""
    shown: list[str | int] = []
    here = values
    for index, part in enumerate(location):
        inside = isinstance(here, Mapping) and part in here
        inside |= isinstance(here, list) and isinstance(part, int) and part < len(here)
        if inside:
            here = here[part]  # type: ignore[index]
            shown.append(part)
        elif index == len(location) - 1 and isinstance(here, Mapping) and kind == "missing":
            shown.append(part)
    return shown


def _keys_beside(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names of the fields where an unknown key stood."""
    candidates: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        inner: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            inner += _models_in(field.annotation) if field else []
            if field is None and _tag_of(candidate) == part:
                inner.append(candidate)
        candidates = inner or candidates
    return [name for candidate in candidates for name in candidate.model_fields]


def _tag_of(model: type[BaseModel]) -> object:
    """The `kind` of a member of a tagged union, or None."""
    field = model.model_fields.get("kind")
    return field.default if field else None


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Every pydantic model in a type, however deeply it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in _models_in(arg)]
