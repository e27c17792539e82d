"""Paths of the sections `model` and `objective` of a pretraining recipe.

The functions modify plain values in place. A model name that is no local folder is taken for a hub
id and stays unchanged. For configuration hashes the hash of weights replaces their path.
"""

from pathlib import Path
from typing import Any

from kinesweep.core.checkpoint_files import compute_pretrained_digest

# Sections with weights: path to the section, key of the weights, key of their hash.
_WEIGHTS = (
    (("model",), "init_from", "sha256"),
    (("objective",), "init_from", "sha256"),
    (("objective", "mae"), "init_from", "sha256"),
    (("objective", "text"), "pretrained", "sha256"),
)


def resolve_weights(recipe: dict[str, Any], base_dir: Path) -> None:
    """Make the paths of weights and tokenizer absolute, and record the hashes of the weights.

    A hash in the recipe is kept. A missing file has none; loading reports it.

    Args:
        recipe: Plain values of a recipe, modified in place.
        base_dir: Folder that relative paths start from.
    """
    for section, key, hash_key in _list_weights(recipe):
        _make_absolute(section, key, base_dir)
        # A recipe from a run folder has a hash, with which the files must still agree.
        if section[hash_key] is None:
            section[hash_key] = compute_pretrained_digest(section[key])
    tokenizer = recipe["objective"].get("text", {}).get("tokenizer", {})
    if tokenizer.get("kind") == "folder":
        _make_absolute(tokenizer, "path", base_dir)


def strip_paths(recipe: dict[str, Any]) -> None:
    """Replace the paths of weights by their hashes, and that of a tokenizer by its name.

    Args:
        recipe: Plain values of a recipe, modified in place.
    """
    for section, key, hash_key in _list_weights(recipe):
        # A hub id has no hash; its name identifies the weights.
        section[key] = section[hash_key] or section[key]
    for keys, _, hash_key in _WEIGHTS:
        (_find_section(recipe, keys) or {}).pop(hash_key, None)
    tokenizer = recipe["objective"].get("text", {}).get("tokenizer", {})
    if tokenizer.get("kind") == "folder":
        tokenizer["path"] = Path(tokenizer["path"]).name


def _make_absolute(section: dict[str, Any], key: str, base_dir: Path) -> None:
    """Make a path absolute if it exists; a hub id looks like a relative path."""
    path = base_dir / Path(section[key]).expanduser()
    if path.exists():
        section[key] = str(path.absolute())


def _list_weights(recipe: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """List section, key of the weights and key of their hash for all weights that are set."""
    found = [(_find_section(recipe, keys), key, hash_key) for keys, key, hash_key in _WEIGHTS]
    return [
        (section, key, hash_key)
        for section, key, hash_key in found
        if section is not None and section[key] is not None
    ]


def _find_section(recipe: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the section at a path of keys; None if this objective has none with weights."""
    section: Any = recipe
    for key in keys:
        section = section.get(key)
        if section is None:
            return None
    # The objective `clip` has weights in its sections only.
    return section if keys != ("objective",) or "init_from" in section else None
