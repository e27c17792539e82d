"""Removal of keys without an effect from the values that a configuration hash is computed from.

A key that was added later and is not set must not change the hashes of existing recipes, which name
run folders and identify runs.
"""

from typing import Any

from kinesweep.config.loading import ALTERNATIVE_KEYS
from kinesweep.config.recipe.generation import remove_unset_options


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
    for key in ("learning_rates", "auto_find_batch_size"):
        if not training[key]:
            del training[key]
    if training["loss"] == {"kind": "cross_entropy"}:
        del training["loss"]
    if not batch["drop_last"]:
        del batch["drop_last"]
    if batch["references_per_clip"] is None:
        del batch["references_per_clip"]
    for key in ("lora", "revision"):
        if backbone[key] is None:
            del backbone[key]
    if backbone.get("encoder_pooling") == "none":
        del backbone["encoder_pooling"]
    remove_unset_options(recipe["generation"])
