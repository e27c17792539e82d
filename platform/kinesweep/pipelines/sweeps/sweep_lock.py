"""The lock of a sweep: only one driver may run, resume or remove it at a time.

Two drivers would write one journal and train in the same folders. The lock lies outside of the
sweep's folder, which `--overwrite` removes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kinesweep.core.errors import InputError
from kinesweep.core.io import hold_lock_file
from kinesweep.core.paths import get_state_dir

# A driver that was killed or cancelled a moment ago may still be ending.
_MAX_LOCK_WAIT_S = 10.0


def check_sweep_name(name: str) -> None:
    """Check that a name is that of a single folder, so that no path leads out of the state folder.

    Raises:
        InputError: If it is empty or contains a separator of folders.
    """
    # `--overwrite` removes the folder of this name: `..` or an absolute path would be another one.
    if name in ("", ".", "..") or {"/", "\\", "\0"} & {*name}:
        raise InputError(
            f"`{name}` cannot be the name of a sweep, which is that of a folder; give a `--name`"
            " without slashes, such as `sample`"
        )


@contextmanager
def lock_sweep(name: str) -> Iterator[None]:
    """Hold the lock of a sweep of the state folder within the `with` block.

    The operating system releases the lock of a killed process at once.

    Args:
        name: Name of the sweep.

    Raises:
        InputError: If the name is not that of a folder, or if another process still runs the sweep
            after 10 s.
    """
    check_sweep_name(name)
    with ExitStack() as stack:
        # Only while the lock is taken: a `TimeoutError` of the sweep itself has another meaning.
        try:
            stack.enter_context(hold_lock_file(_get_lock_path(name), _MAX_LOCK_WAIT_S))
        except TimeoutError:
            raise InputError(
                f"another process runs the sweep `{name}`; `kinesweep status {name} --watch` shows"
                " it. Wait for it or stop it, or give this one another `--name`"
            ) from None
        yield


@contextmanager
def try_lock_sweep(name: str) -> Iterator[bool]:
    """Hold the lock of a sweep within the `with` block, unless another process holds it.

    Args:
        name: Name of the sweep.

    Yields:
        Whether this process holds the lock.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_lock_file(_get_lock_path(name), 0))
            is_held = True
        except TimeoutError:
            is_held = False
        yield is_held


def _get_lock_path(name: str) -> Path:
    """Return the path of the lock file of a sweep."""
    return get_state_dir() / "locks" / f"sweep-{name}.lock"
