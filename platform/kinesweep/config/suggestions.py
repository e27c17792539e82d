"""Hints that error messages give about an unknown word: the known word or the alternative."""

import difflib
from collections.abc import Sequence

_FOREIGN_KEY_HINTS = {
    "deepspeed": "DeepSpeed is not supported. Weights, gradients and optimizer state are sharded"
    " over the workers by `training.fsdp: true` with `resources.workers` of 2 or more; projectors"
    " saved by DeepSpeed (`mp_rank_00_model_states.pt`) are imported by `kinesweep convert`",
    # The two kinds of recipes are easily given to each other's commands.
    "objective": "a recipe with this key is one of `kinesweep pretrain`",
    "backbone": "a recipe with the key `model.backbone` is one of `kinesweep train`",
}
"""Keys that users bring from other tools or commands → the alternative, or who reads them."""
_RENAMED_KEYS = {
    "clips": "batch_size",
    "max_stream_frames": "truncate_frames",
    "paraphrases": "reference_choice",
    "complete": "required_splits",
    "reserve_tokens": "reserved_text_tokens",
    "end_token": "append_eos",
    "learned": "neural_metrics",
    "search": "during_training",
    "prelude": "document_start",
    "generation": "decoding_context",
    "after": "suffix",
    "times": "time_unit",
    "weight": "sampling_weight",
    "scheduler": "pruner",
    "grace_evaluations": "grace_period",
    "reduction": "reduction_factor",
    "sanity": "sanity_baselines",
    "why": "rationale",
}
"""Keys of earlier versions → their names today."""


def suggest_closest_word(word: str, candidates: Sequence[str]) -> str:
    """Return the text `; did you mean …?` with the candidate that is closest to a word.

    The text is appended to an error message; it is empty if no candidate is similar enough.
    """
    matches = difflib.get_close_matches(word, candidates, n=1)
    return f"; did you mean `{matches[0]}`?" if matches else ""


def format_unknown_key_hint(key: str, known_keys: Sequence[str]) -> str:
    """Format a hint for an unknown key: its new name, an alternative, or the closest known key.

    Args:
        key: Unknown key; a dotted path in search spaces.
        known_keys: Keys that are allowed in its place; dotted paths if `key` is one.

    Returns:
        Text to append to an error message; empty if there is nothing to suggest.
    """
    last_part = key.rpartition(".")[2]
    # Only if the new name is known here: a word such as `search` may be wrong for another reason.
    if (new_name := _RENAMED_KEYS.get(last_part)) and any(
        known_key.rpartition(".")[2] == new_name for known_key in known_keys
    ):
        return f"; it is now called `{new_name}`"
    if last_part in _FOREIGN_KEY_HINTS:
        return f"; {_FOREIGN_KEY_HINTS[last_part]}"
    return suggest_closest_word(key, known_keys)
