"""Search of keys and values in the JSON schemas of recipes, for tests of names in documents."""

from typing import Any

from kinesweep.config.embedding_recipe import EmbeddingRecipe
from kinesweep.config.pretraining_recipe import PretrainingRecipe
from kinesweep.config.recipe import Recipe

SCHEMAS = {
    model: model.model_json_schema() for model in (Recipe, PretrainingRecipe, EmbeddingRecipe)
}
_TYPES = {"integer": int, "number": (int, float), "boolean": bool, "string": str}
_PLAIN_VALUES = {"true": True, "false": False, "null": None}


def find_key(schema: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the schemas of a dotted key, one for each alternative of its sections.

    Args:
        schema: JSON schema of a recipe.
        key: Dotted key; keys of lists are those of their elements.
    """
    return _find(schema, key.split("."), schema["$defs"])


def is_allowed(schema: dict[str, Any], key: str, value: str) -> bool:
    """Whether a key exists and may have a value, which is written as in YAML."""
    parsed = _PLAIN_VALUES.get(value, int(value) if value.isdecimal() else value)
    return any(_allows(leaf, parsed, schema["$defs"]) for leaf in find_key(schema, key))


def _get_alternatives(schema: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schema without references, and those that it is composed of."""
    if "$ref" in schema:
        return _get_alternatives(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    parts = [part for kind in ("anyOf", "oneOf", "allOf") for part in schema.get(kind, [])]
    if isinstance(schema.get("items"), dict):
        parts.append(schema["items"])
    return [schema, *(one for part in parts for one in _get_alternatives(part, definitions))]


def _find(
    schema: dict[str, Any], path: list[str], definitions: dict[str, Any]
) -> list[dict[str, Any]]:
    if not path:
        return [schema]
    found: list[dict[str, Any]] = []
    for one in _get_alternatives(schema, definitions):
        if path[0] in one.get("properties", {}):
            found += _find(one["properties"][path[0]], path[1:], definitions)
        elif one.get("additionalProperties") is True:
            found.append({})
        elif isinstance(one.get("additionalProperties"), dict):
            found += _find(one["additionalProperties"], path[1:], definitions)
    return found


def _allows(leaf: dict[str, Any], value: Any, definitions: dict[str, Any]) -> bool:
    for one in _get_alternatives(leaf, definitions):
        if not one or value in one.get("enum", []) or ("const" in one and one["const"] == value):
            return True
        if value is None:
            if one.get("type") == "null":
                return True
        elif "enum" not in one and "const" not in one and one.get("type") in _TYPES:
            kind = _TYPES[one["type"]]
            if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
                return True
    return False
