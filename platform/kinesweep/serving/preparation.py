"""Checks before a server starts, which take no seconds and need no Ray."""

from importlib.util import find_spec
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.serving.errors import ServingError

# Modules of the extra `serve`, by the names under which they are installed.
_MODULES = {
    "fastapi": "ray[serve]",
    "uvicorn": "ray[serve]",
    "starlette": "ray[serve]",
    "websockets": "ray[serve]",
    "prometheus_client": "ray[serve]",
    "python_multipart": "python-multipart",
}


def check_installation() -> None:
    """Check that the libraries of the extra `serve` are installed.

    Raises:
        ServingError: If one is missing.
    """
    missing = sorted({package for name, package in _MODULES.items() if find_spec(name) is None})
    if missing:
        raise ServingError(
            f"serving needs {', '.join(missing)}; run `pip install 'kinesweep[serve]'`"
        )


def choose_token(host: str, token_file: Path | None, no_token: bool) -> str | None:
    """Choose the token of a server.

    Args:
        host: Host name or address to listen on.
        token_file: File with the token; None: a new random token.
        no_token: Whether no token shall be needed.

    Returns:
        The token; None if none is needed.

    Raises:
        InputError: If both a token and none are wanted, or none on an address that other machines
            reach.
        ServingError: If the file with the token cannot be used.
    """
    from kinesweep.serving.http.auth import read_token
    from kinesweep.serving.http.server import is_loopback

    if no_token and token_file is not None:
        raise InputError("give either `--token-file` or `--no-token`")
    if no_token and not is_loopback(host):
        raise InputError(
            f"`--no-token` is allowed on loopback only, but `--host {host}` is reached from other"
            " machines; remove `--no-token`"
        )
    return None if no_token else read_token(token_file)
