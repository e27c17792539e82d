"""The cluster that a plan is made for, as people write it."""

from kinesweep.core.errors import InputError

_KINDS = {"cpus": "CPU", "gpus": "GPU"}


def parse_cluster(text: str) -> dict[str, float] | None:
    """Return `cpus=64,gpus=8` as Ray counts them; None for nothing.

    Raises:
        InputError: something else.
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            found[_KINDS[name.strip()]] = float(value)
        except (KeyError, ValueError):
            raise InputError(f"`--cluster {text}` is not of the form `cpus=64,gpus=8`") from None
    return found or None
