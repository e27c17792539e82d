"""The check that the settings of a part can be recorded: hashed, written with a run and read again.

Recipes of ours are tested for that. Settings of another package may be of any type, and what JSON
holds of some of them differs from process to process, so equal runs would have different hashes.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError


def find_record_problem(config: BaseModel) -> str:
    """Find why settings cannot be recorded, as the end of a sentence; an empty text if they can.

    Args:
        config: Validated settings of a part.
    """
    if any(isinstance(value, set | frozenset) for value in _iter_values(config)):
        # The order of texts in a set depends on the random seed of the process's hashes.
        return "is a set, whose order changes between processes; declare it as a tuple"
    try:
        values = config.model_dump(mode="json")
        json.dumps(values, allow_nan=False)
    except PydanticSerializationError as error:
        return f"cannot be written as JSON, so no run could be recorded: {error}"
    except ValueError:
        return "is infinite or not a number, which JSON cannot record"
    try:
        again = type(config).model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        reason = error.errors()[0]
        return f"cannot be read again from its record: {reason['loc']} {reason['msg']}"
    changed = [name for name in values if again.get(name) != values[name]]
    # A validator that changes its own result, such as one that doubles a number.
    return f"is another one when its record is read: `{changed[0]}`" if changed else ""


def _iter_values(value: Any) -> Iterator[Any]:
    """Yield a value and all values in it."""
    yield value
    if isinstance(value, BaseModel):
        value = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _iter_values(item)
