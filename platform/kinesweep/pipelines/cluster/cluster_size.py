"""Parse the cluster size that a plan is made for."""

from kinesweep.core.errors import InputError

_RESOURCE_NAMES = {"cpus": "CPU", "gpus": "GPU"}


def parse_cluster_size(text: str) -> dict[str, float] | None:
    """Parse a size such as `cpus=64,gpus=8` into Ray's resource names, `CPU` and `GPU`.

    Returns:
        Resource → amount; None for an empty text.

    Raises:
        InputError: If the text does not have this form.
    """
    resources = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            resources[_RESOURCE_NAMES[name.strip()]] = float(value)
        except (KeyError, ValueError):
            raise InputError(f"`--cluster {text}` is not of the form `cpus=64,gpus=8`") from None
    return resources or None
