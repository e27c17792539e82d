"""Removal of keys without an effect from the values that a configuration hash is computed from.

A key that was added later and is not set must not change the hashes of existing recipes, which name
run folders and identify runs.
"""

from typing import Any

from kinesweep.config.loading import ALTERNATIVE_KEYS
from kinesweep.config.recipe.generation import remove_unset_options
from kinesweep.config.recipe.resources import remove_default_performance


def remove_unset_keys(recipe: dict[str, Any], gpus: float) -> None:
    """Remove keys that are not set and that earlier versions did not have, in place.

    Args:
        recipe: Plain values of a recipe.
        gpus: Number of GPUs of a worker; without one, the precision `auto` is fp32.
    """
    remove_default_performance(recipe)
    training, batch, backbone = recipe["training"], recipe["batch"], recipe["model"]["backbone"]
    # With a GPU, its model decides; that is part of a run's identity by itself.
    if training["precision"] == "auto" and gpus == 0:
        training["precision"] = "fp32"
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
