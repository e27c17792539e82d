"""W&B's own process: started with the first run of a process and stopped after the last one.

`wandb.init` starts a program, `wandb-core`, that writes and uploads. It ends by itself within two
seconds if the process that started it is killed. Workers of a sweep live long, so it is stopped as
soon as no run uses it.
"""

import threading
from collections.abc import Mapping
from typing import Any

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.wandb.run_settings import WandbMode, make_settings

_lock = threading.Lock()
_num_open_runs = 0


def open_wandb_run(arguments: Mapping[str, Any], mode: WandbMode, base_url: str) -> Any:
    """Create or resume a run and return W&B's object for it.

    Args:
        arguments: Arguments of `wandb.init`, without `settings`.
        mode: Whether the run is sent to the server or only written to disk.
        base_url: Address of the W&B server; empty: W&B's own default.

    Raises:
        TrackingError: If no credentials are known.
        wandb.errors.Error: If the server does not answer or refuses.
    """
    global _num_open_runs
    import wandb

    # One at a time: W&B's settings are those of the process.
    with _lock:
        try:
            settings = make_settings(base_url)
            # Checked first, because `wandb.init` would ask on a terminal.
            if mode == "online" and not _find_credentials(settings):
                raise TrackingError("no API key; set `WANDB_API_KEY` or run `wandb login`")
            run = wandb.init(**arguments, settings=settings)
            _num_open_runs += 1
        except BaseException:
            _stop_unused_process()
            raise
    return run


def close_wandb_run(run: Any, exit_code: int) -> int | None:
    """Finish a run, which waits for its upload, and stop W&B's process if no other run uses it.

    Args:
        run: Object of W&B.
        exit_code: 0 unless the run failed.

    Returns:
        The number of rows of history that the server has; None for an offline run.

    Raises:
        wandb.errors.Error: If the server does not answer any more.
    """
    global _num_open_runs
    import wandb

    try:
        run.finish(exit_code=exit_code)
        # `finish` does not tell whether it gave up.
        return None if run.offline else 1 + int(wandb.Api().run(run.path).lastHistoryStep)
    finally:
        with _lock:
            _num_open_runs -= 1
            _stop_unused_process()


def has_credentials(base_url: str) -> bool:
    """Return whether an API key for the server is known; neither a person nor a server is asked.

    Args:
        base_url: Address of the W&B server; empty: W&B's own default.

    Raises:
        TrackingError: If the key does not have the form of one.
    """
    with _lock:
        try:
            return _find_credentials(make_settings(base_url))
        finally:
            _stop_unused_process()


def _find_credentials(settings: Any) -> bool:
    """Return whether W&B finds an API key in its variables, its settings or `.netrc`.

    Raises:
        TrackingError: If the key does not have the form of one.
    """
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        # `wandb.login` would ask the server, which may be away.
        host = wandb.setup(settings=settings).settings.base_url
        return wbauth.authenticate_session(host=host, source="kinesweep", prompt=False) is not None
    except AuthenticationError as error:
        raise TrackingError(f"the API key for Weights & Biases is invalid: {error}") from None


def _stop_unused_process() -> None:
    """Stop W&B's process if this process has no open run."""
    if _num_open_runs == 0:
        import wandb

        wandb.teardown()
