"""MLflow's limits on names, values and calls, and conversions that make names and values fit."""

import json
import re

from kinesweep.core.hashing import compute_fingerprint

MAX_METRICS, MAX_PARAMS_OR_TAGS = 1000, 100
"""Entries allowed per call: metrics (and all kinds together); parameters, or tags."""
MAX_KEY_LENGTH, MAX_TAG_LENGTH, MAX_PARAM_LENGTH, MAX_DIGEST_LENGTH = 250, 8000, 6000, 36
"""Longest key, tag value, parameter value and digest of a dataset, in characters."""


def format_param_value(value: object) -> str:
    """Return a parameter's value as stored in MLflow: text unchanged, everything else as JSON.

    A result of more than 6000 characters is cut and followed by a note on its original length.
    """
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    if len(text) <= MAX_PARAM_LENGTH:
        return text
    # The note takes up to 40 characters.
    return f"{text[: MAX_PARAM_LENGTH - 40]}… ({len(text)} characters)"


def parse_param_value(text: str) -> object:
    """Return the value of a parameter that `format_param_value` converted to text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def sanitize_key(name: str) -> str:
    """Return the name of a metric or parameter, reduced to the characters that MLflow allows.

    Other characters become `_`; slashes, periods and spaces at either end are removed. The result
    is never empty and has at most 250 characters.
    """
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)
    return allowed.strip("/. ")[:MAX_KEY_LENGTH] or "_"


def sanitize_run_key(key: str) -> str:
    """Return a run's key with `_` for quotes and backslashes, which break MLflow's filters.

    A changed key ends in a hash of the original one, so different keys stay different.
    """
    sanitized = re.sub(r"['\"\\`]", "_", key)
    return key if sanitized == key else f"{sanitized} {compute_fingerprint(key)[:12]}"


def sanitize_model_name(text: str) -> str:
    """Return a valid model name: characters that MLflow does not allow become `-`.

    If nothing remains, the name is `model`.
    """
    return re.sub(r"[^\w. -]", "-", text).strip() or "model"
