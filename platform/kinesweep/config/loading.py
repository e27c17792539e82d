"""Configuration loading: YAML files with `key.sub=value` overrides become validated models.

OmegaConf reads the YAML (with interpolation) and pydantic validates it. All problems are reported
at once, each at its dotted path. Unknown keys are errors and never ignored, because a sweep over a
misspelled key would change nothing; the error suggests the closest known key.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml import YAMLError

from kinesweep.config.validation_problems import format_problem
from kinesweep.core.errors import ConfigError, InputError

M = TypeVar("M", bound=BaseModel)

ALTERNATIVE_KEYS = (
    ("max_steps", "num_train_epochs"),
    ("warmup_steps", "warmup_ratio"),
    ("eval_steps", "eval_epochs"),
)
"""Pairs of keys of one section of which at most one has a value."""
_ALTERNATIVE_BY_KEY = {
    key: alternative for pair in ALTERNATIVE_KEYS for key, alternative in (pair, pair[::-1])
}
_NO_MAPPING = "must contain a mapping of keys to values"
# Tag that PyYAML gives to unquoted words such as `on`, `yes` and `true`.
_YAML_BOOL_TAG = "tag:yaml.org,2002:bool"


class StrictConfig(BaseModel):
    """Base class of all configuration: immutable, rejects unknown keys, validates defaults too."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def select_alternatives(
    raw_section: Any, pairs: Sequence[tuple[str, str]] = ALTERNATIVE_KEYS
) -> Any:
    """Return a section as it was given, with one value for each pair of alternative keys.

    It belongs before the validation of a section, so that a given alternative takes the place of
    the default of the other key.

    Args:
        raw_section: Section before its validation; anything but a mapping is returned as it is.
        pairs: Pairs of a key with a default and its alternative.

    Raises:
        ValueError: If both keys of a pair have a value.
    """
    if not isinstance(raw_section, dict):
        return raw_section
    section = dict(raw_section)
    for key, other_key in pairs:
        given = [name for name in (key, other_key) if section.get(name) is not None]
        if len(given) == 2:
            raise ValueError(
                f"give `{key}` or `{other_key}`, not both (they are {section[key]} and"
                f" {section[other_key]}); null unsets a key"
            )
        if given == [other_key]:
            section[key] = None
        elif not given:
            # Null for both keys means the default, which an absent key gets.
            section.pop(key, None)
    return section


def read_yaml(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML file into plain values and apply `key.sub=value` overrides.

    Args:
        path: The YAML file.
        overrides: Overrides such as `training.seed=7`; values are parsed as YAML. `[0]` in a path
            is the first item of a list.

    Raises:
        ConfigError: If the file cannot be read, if it or an override is not valid YAML, if the file
            contains no mapping, or if an override has no `=`.
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
        file_config = _wrap_feature_parts(OmegaConf.create(_quote_boolean_keys(text)))
        if not isinstance(file_config, DictConfig):
            raise ConfigError(str(path), [("(file)", _NO_MAPPING)])
        quoted_overrides = [_quote_override(item) for item in overrides]
        for key in find_replaced_keys([item.partition("=")[0] for item in overrides]):
            if OmegaConf.select(file_config, key) is not None:
                OmegaConf.update(file_config, key, None)
        # Interpolations are resolved after the merge, so they see the overridden values.
        merged = _apply_overrides(file_config, quoted_overrides)
        config_values = OmegaConf.to_container(merged, resolve=True)
    except ConfigError:
        raise
    except (
        *(YAMLError, OmegaConfBaseException, ValueError, TypeError),
        *(IndexError, AssertionError),
    ) as error:
        # AssertionError: OmegaConf asserts that the YAML holds a mapping or a list.
        raise ConfigError(str(path), [("(file)", f"is not valid YAML: {error}")]) from None
    # OmegaConf turns an empty file into an empty mapping, so the text is checked as well.
    if not isinstance(config_values, dict) or not text.strip():
        raise ConfigError(str(path), [("(file)", _NO_MAPPING)])
    return {str(key): value for key, value in config_values.items()}


def _apply_overrides(config: Any, overrides: Sequence[str]) -> Any:
    """Return a configuration with overrides `key.sub=value`, also of items of lists."""
    in_lists = [item for item in overrides if "[" in item.partition("=")[0]]
    others = [item for item in overrides if item not in in_lists]
    merged = OmegaConf.merge(config, OmegaConf.from_dotlist(others))
    for item in in_lists:
        # Merging would put a mapping of indices in place of the list.
        path, _, value = item.partition("=")
        OmegaConf.update(merged, path, OmegaConf.from_dotlist([f"value={value}"])["value"])
    return merged


def _wrap_feature_parts(config: Any) -> Any:
    """Wrap a list of parts under `features`, so that overrides reach `features.streams`.

    The result is what the validation of a recipe would make of the list.
    """
    if isinstance(config, DictConfig) and isinstance(config.get("features"), ListConfig):
        config.features = {"kind": "combined", "parts": config.features, "streams": "all"}
    return config


def _quote_override(item: str) -> str:
    """Return an override whose value has quotes around keys that YAML would read as booleans.

    Raises:
        YAMLError: If the value is not valid YAML.
    """
    path, _, value = item.partition("=")
    return f"{path}={_quote_boolean_keys(value)}"


def _quote_boolean_keys(text: str) -> str:
    """Return a YAML text with quotes around keys that YAML would read as booleans, such as `on`.

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
    """Yield the key nodes of all mappings at and below a YAML node, in the order of the text."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield from _iter_key_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _iter_key_nodes(value)


def validate_config(
    config_class: type[M], values: Mapping[str, Any], origin: str, base_dir: Path | None = None
) -> M:
    """Validate plain values against a pydantic model and return the model instance.

    Args:
        config_class: The configuration class.
        values: Plain values, as read from YAML.
        origin: Name of the file or other origin, for the error message.
        base_dir: Folder to which files that the configuration reads are relative; None: the current
            one.

    Raises:
        ConfigError: If validation fails; lists every problem at its dotted path.
    """
    try:
        return config_class.model_validate(values, context={"base_dir": base_dir})
    except ValidationError as error:
        problems = [format_problem(config_class, values, item) for item in error.errors()]
        # Members of a union may report the same problem, which is shown once, in its first place.
        raise ConfigError(origin, list(dict.fromkeys(problems))) from None


def load_config(
    config_class: type[M],
    path: Path,
    overrides: Sequence[str] = (),
    base_dir: Path | None = None,
) -> M:
    """Read a YAML configuration file, apply overrides and return the validated model.

    Args:
        config_class: The configuration class.
        path: The YAML file.
        overrides: Overrides such as `training.seed=7`.
        base_dir: See `validate_config`.

    Raises:
        ConfigError: If the file or an override is invalid; lists every problem at its dotted path.
    """
    return validate_config(config_class, read_yaml(path, overrides), str(path), base_dir)


def find_replaced_keys(overridden_keys: Sequence[str]) -> list[str]:
    """Return the keys that overrides replace because they are alternatives of overridden keys.

    An override of `training.max_steps` replaces `training.num_train_epochs`, unless both are
    overridden: then neither replaces the other, and the schema decides whether they agree.

    Args:
        overridden_keys: Dotted keys of the overrides.
    """
    replaced_keys = []
    for path in overridden_keys:
        parent, dot, key = path.rpartition(".")
        alternative = f"{parent}{dot}{_ALTERNATIVE_BY_KEY.get(key, key)}"
        if alternative not in overridden_keys:
            replaced_keys.append(alternative)
    return replaced_keys


def set_by_path(values: dict[str, Any], path: str, value: object) -> None:
    """Set a value at a dotted path in nested mappings, in place, and create missing mappings.

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
