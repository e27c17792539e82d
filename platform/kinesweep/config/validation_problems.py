"""Problems of a configuration: pydantic's errors as dotted paths with a message for users."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from kinesweep.config.kinds import PART_TAG, UNKNOWN_KIND
from kinesweep.config.suggestions import format_unknown_key_hint

SECRET_VALUE = "secret_value"
"""Type of pydantic errors whose message must not repeat the value, which may hold a password."""


def format_problem(
    config_class: type[BaseModel], values: Mapping[str, Any], error: Any
) -> tuple[str, str]:
    """Return the dotted path and the message of one pydantic error.

    Args:
        config_class: The class that was validated.
        values: The values that were validated.
        error: One element of `ValidationError.errors()`.

    Returns:
        The path, `(file)` if the problem concerns the file as a whole, and the message.
    """
    location = _strip_union_tags(error["loc"], values, error["type"])
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in location
    ).lstrip(".")
    if error["type"] == "extra_forbidden":
        candidates = _list_candidate_keys(config_class, error["loc"], values)
        return path, f"unknown{format_unknown_key_hint(str(error['loc'][-1]), candidates)}"
    if error["type"] == "missing":
        return path, "missing"
    # For a wrong or missing union tag, pydantic reports the section instead of its key `kind`.
    if error["type"] == "union_tag_invalid":
        tags = error["ctx"]
        expected = tags["expected_tags"].removesuffix(f", {PART_TAG!r}")
        return f"{path}.kind", f"must be one of {expected}, but is {tags['tag']!r}"
    if error["type"] == UNKNOWN_KIND:
        return f"{path}.kind", error["msg"]
    if error["type"] == "union_tag_not_found":
        return f"{path}.kind", "missing"
    # pydantic puts this prefix before the ValueErrors of validators.
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    input_value = error.get("input")
    is_scalar = isinstance(input_value, str | int | float | bool) or input_value is None
    if error["type"] == SECRET_VALUE:
        return path, message
    # Mappings and lists are not repeated: a whole section would hide the message.
    return path or "(file)", f"{message}, but is {input_value!r}" if is_scalar and path else message


def check_derived_section(build: Callable[[], object]) -> None:
    """Check a configuration by building another one from it, whose rules hold for both.

    Args:
        build: Function that builds the other configuration.

    Raises:
        ValueError: With the message of the first problem.
    """
    # Only the message is raised again, because a nested ValidationError spans several lines.
    try:
        build()
    except ValidationError as error:
        message = str(error.errors()[0]["msg"])
        raise ValueError(message.removeprefix("Value error, ")) from None


def _strip_union_tags(
    location: Sequence[str | int], values: object, error_type: str
) -> list[str | int]:
    """Return an error's location without the tags that pydantic inserts for members of unions.

    Args:
        location: Location of the error as pydantic reports it.
        values: The values that were validated.
        error_type: Type of the pydantic error.
    """
    key_path: list[str | int] = []
    current_value = values
    # Walk down the values: a part that is not in them is a tag, not a key that the user wrote.
    for index, part in enumerate(location):
        if _is_key(current_value, part):
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


def _is_key(values: object, part: str | int) -> bool:
    """Return whether a part of a location is a key or index of the values, not a union tag.

    Args:
        values: Values at this place of the location.
        part: Next part of the location as pydantic reports it.
    """
    if isinstance(values, list):
        return isinstance(part, int) and part < len(values)
    return isinstance(values, Mapping) and part in values


def _list_candidate_keys(
    config_class: type[BaseModel], location: Sequence[str | int], values: object
) -> list[str]:
    """List the field names of all configuration classes to which an unknown key could belong.

    Args:
        config_class: The class that was validated.
        location: Location of the unknown key as pydantic reports it.
        values: The values that were validated.
    """
    # There are several candidates where a field may hold one of several classes.
    candidates: list[type[BaseModel]] = [config_class]
    for part in location[:-1]:
        values = values[part] if _is_key(values, part) else values  # type: ignore[index]
        nested_classes: list[type[BaseModel]] = []
        for candidate in candidates:
            field = candidate.model_fields.get(str(part))
            nested_classes += _find_config_classes(field.annotation) if field else []
            # Not a field but a union tag: it selects the member with this `kind`.
            if field is None and _get_union_tag(candidate) == part:
                nested_classes.append(candidate)
            if part == PART_TAG and isinstance(values, Mapping):
                # The class of the part was imported when the section was validated.
                parts = _iter_subclasses(candidate)
                nested_classes += [sub for sub in parts if _get_union_tag(sub) == values["kind"]]
        candidates = nested_classes or candidates
    return [name for candidate in candidates for name in candidate.model_fields]


def _iter_subclasses(config_class: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield all subclasses of a class that are imported, at any depth."""
    for subclass in config_class.__subclasses__():
        yield subclass
        yield from _iter_subclasses(subclass)


def _get_union_tag(config_class: type[BaseModel]) -> object:
    """Return the union tag of a class, the one value of its `kind`; None if it has no such field.

    The value is in the annotation, `Literal["…"]`: most kinds have no default, and a part declares
    its kind as the default of a field that is any text.
    """
    field = config_class.model_fields.get("kind")
    if field is None:
        return None
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return values[0] if len(values) == 1 else field.default


def _find_config_classes(annotation: object) -> list[type[BaseModel]]:
    """Find all configuration classes in a type annotation at any depth, as often as they occur."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        nested_class for arg in get_args(annotation) for nested_class in _find_config_classes(arg)
    ]
