"""Sizes of clusters, as given to `kinesweep plan --cluster`."""

import math

from kinesweep.core.errors import InputError

_RESOURCE_NAMES = {"cpus": "CPU", "gpus": "GPU"}


def parse_cluster_size(text: str) -> dict[str, float] | None:
    """Parse a size such as `cpus=64,gpus=8` into Ray's resource names, `CPU` and `GPU`.

    Returns:
        Resource → amount; None for an empty text.

    Raises:
        InputError: If the text does not have this form, or if an amount is negative or not finite.
    """
    resources = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            resource, amount = _RESOURCE_NAMES[name.strip()], float(value)
        except (KeyError, ValueError):
            raise InputError(f"`--cluster {text}` is not of the form `cpus=64,gpus=8`") from None
        if not math.isfinite(amount) or amount < 0:
            raise InputError(
                f"`--cluster {text}`: the amount of `{name.strip()}` must be a number of at least 0"
            )
        resources[resource] = amount
    return resources or None
