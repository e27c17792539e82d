"""Ray on this machine: connecting to it, starting a head on loopback, submitting jobs.

A local head and its dashboard listen on 127.0.0.1 alone and ask for a token that lies in the state
folder, so that nothing is written to the home folder and no other user can run code here.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from kinesweep.core.errors import ResourceError
from kinesweep.core.paths import state_home

LOOPBACK_ENV = {
    # Without this Ray swaps 127.0.0.1 for the machine's outer address and listens there.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # The controller of a TorchTrainer polls its workers; at Ray's 2 s every report waits for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "TOKENIZERS_PARALLELISM": "false",
}


def loopback_env(home: Path) -> dict[str, str]:
    """Environment under which Ray's processes stay on loopback, with a token of this state folder."""
    token = home / "services" / "ray_token"
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
    return {**LOOPBACK_ENV, "RAY_AUTH_TOKEN_PATH": str(token)}
