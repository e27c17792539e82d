"""Options of commands that exchange bundles with the Hugging Face Hub."""

from typing import TYPE_CHECKING, Annotated

import typer

from kinesweep.core.errors import InputError

if TYPE_CHECKING:
    from kinesweep.pipelines.bundle_export import PushRequest

PushOption = Annotated[
    str | None,
    typer.Option(
        metavar="OWNER/NAME",
        help="Upload the bundle to this repository on the Hugging Face Hub, which is created if it"
        " is missing. The token is that of `hf auth login` or `HF_TOKEN`.",
        show_default=False,
    ),
]
PrivateOption = Annotated[bool, typer.Option("--private", help="Push to a private repository.")]
BranchOption = Annotated[
    str | None,
    typer.Option(help="Branch to push to; it is created if it is missing.", show_default=False),
]
MessageOption = Annotated[
    str | None, typer.Option(help="Message of the pushed commit.", show_default=False)
]
RevisionOption = Annotated[
    str | None,
    typer.Option(
        help="Branch, tag or commit of a bundle on the Hub. Default: its default branch.",
        show_default=False,
    ),
]


def build_push_request(
    push: str | None, private: bool, revision: str | None, message: str | None
) -> "PushRequest | None":
    """Build the request of a push from its options; None without `--push`.

    Raises:
        InputError: If an option is given that has no effect without `--push`.
    """
    from kinesweep.pipelines.bundle_export import PushRequest

    if push is not None:
        return PushRequest(push, private, revision, message)
    options = {"--private": private, "--revision": revision, "--message": message}
    for option, value in options.items():
        if value:
            raise InputError(f"`{option}` has no effect without `--push OWNER/NAME`")
    return None
