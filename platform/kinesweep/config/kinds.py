"""The key `kind` of a section, by which pydantic selects the class of the section.

A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
"""

from collections.abc import Callable, Mapping

PART_TAG = "(part)"
"""Union tag of all parts of other packages; pydantic inserts it into the locations of errors."""
UNKNOWN_KIND = "unknown_kind"
"""Type of the validation error for a `kind` that is neither ours nor that of an installed part."""


def make_kind_getter(default_kind: str) -> Callable[[object], str]:
    """Return a function that gets the `kind` of a mapping or a config, for use as a discriminator.

    A mapping without a `kind` gives `default_kind`, any other value without one an empty text.
    """

    def get_kind(value: object) -> str:
        # A mapping comes from YAML; a model instance comes from a default or a copied recipe.
        if isinstance(value, Mapping):
            return str(value.get("kind", default_kind))
        return str(getattr(value, "kind", ""))

    return get_kind
