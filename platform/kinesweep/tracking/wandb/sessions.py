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
            wandb.setup(settings=settings)
            if mode == "online" and not wandb.login(host=base_url or None, prompt=False):
                # Checked first, because `wandb.init` would ask on a terminal.
                raise TrackingError("no API key; set `WANDB_API_KEY` or run `wandb login`")
            run = wandb.init(**arguments, settings=settings)
            _num_open_runs += 1
        except BaseException:
            _stop_unused_process()
            raise
    return run


def close_wandb_run(run: Any, exit_code: int) -> None:
    """Finish a run, which waits for its upload, and stop W&B's process if no other run uses it.

    Args:
        run: Object of W&B.
        exit_code: 0 unless the run failed.
    """
    global _num_open_runs
    try:
        run.finish(exit_code=exit_code)
    finally:
        with _lock:
            _num_open_runs -= 1
            _stop_unused_process()


def has_credentials(base_url: str) -> bool:
    """Return whether an API key for the server is known; nobody is asked for one.

    Args:
        base_url: Address of the W&B server; empty: W&B's own default.
    """
    import wandb

    with _lock:
        wandb.setup(settings=make_settings(base_url))
        try:
            return bool(wandb.login(host=base_url or None, prompt=False))
        finally:
            _stop_unused_process()


def _stop_unused_process() -> None:
    """Stop W&B's process if this process has no open run."""
    if _num_open_runs == 0:
        import wandb

        wandb.teardown()
