"""Removal of keys without an effect from the values that a configuration hash is computed from.

A key that was added later and is not set must not change the hashes of existing recipes, which name
run folders and identify runs.
"""

from typing import Any

from kinesweep.config.loading import ALTERNATIVE_KEYS


def remove_unset_keys(recipe: dict[str, Any]) -> None:
    """Remove keys that are not set and that earlier versions did not have, in place.

    Args:
        recipe: Plain values of a recipe.
    """
    training, batch, backbone = recipe["training"], recipe["batch"], recipe["model"]["backbone"]
    # Epochs and ratios that are not set, and the numbers of steps that set ones replace.
    alternatives = (key for pair in ALTERNATIVE_KEYS for key in pair)
    for key in (*alternatives, "alignment", "sign_contrastive"):
        if training[key] is None:
            del training[key]
    if not batch["drop_last"]:
        del batch["drop_last"]
    for key in ("lora", "revision"):
        if backbone[key] is None:
            del backbone[key]
