"""The option `--device` of the commands that use a trained model."""

from typing import Annotated

import typer

from kinesweep.core.errors import InputError
from kinesweep.core.system.devices import check_device_name


def _parse_device(name: str) -> str:
    """Return the name of a device, for Click, whose errors are shown with the usage."""
    try:
        return check_device_name(name)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def parse_replica_device(name: str) -> str:
    """Return the name of the device of replicas; a single GPU is not among them."""
    _parse_device(name)
    if ":" in name:
        # Ray hides all other GPUs from a replica, so an index would count something else there.
        raise typer.BadParameter(
            f"`--device` must be auto, cpu or cuda, but is `{name}`: Ray gives each replica its own"
            " GPU; to choose among the GPUs, set CUDA_VISIBLE_DEVICES where Ray starts"
        )
    return name


DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N",
        callback=_parse_device,
        help="Device of the model; `auto`: a GPU if there is one.",
    ),
]
