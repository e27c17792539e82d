"""Storages of studies: a file in the sweep's folder, or a database that the search space names.

Addresses of databases contain no passwords, so they may be logged and shown: PostgreSQL's client
library reads the password from `~/.pgpass` or `$PGPASSWORD`.
"""

import json
import logging
import shlex
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import optuna
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file

from kinesweep.core.errors import InputError

logger = logging.getLogger(__name__)
STUDY_FILE = "optuna.journal"
"""Name of the file with the study in the folder of a sweep."""
_SQLITE = "sqlite:///"
_POSTGRES_SCHEMES = ("postgresql", "postgresql+psycopg")
_SECRET_OPTIONS = frozenset({"password", "sslpassword"})
# Seconds until a database that does not answer, or an SQLite file that another process locks,
# counts as missing.
_CONNECT_TIMEOUT_S = 10
# A host that vanished from the network is noticed after a minute instead of Linux's two hours.
_POSTGRES_TIMEOUTS = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def check_study_url(url: str) -> str:
    """Check the address of a database and return it; no message repeats the address.

    Raises:
        ValueError: If the address is not one of SQLite or PostgreSQL, or contains a password.
    """
    if url.startswith(_SQLITE):
        if url.removeprefix(_SQLITE) in ("", ":memory:"):
            raise ValueError("needs the path of a file, such as `sqlite:///studies.db`")
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        # The message of this error would contain the address, and with it a password.
        raise ValueError("is not a valid address") from None
    if parts.scheme not in _POSTGRES_SCHEMES or not parts.path.strip("/"):
        raise ValueError(
            "must be `postgresql://USER@HOST/DATABASE` or `sqlite:///FILE`; without it, the study"
            f" is the file `{STUDY_FILE}` in the sweep's folder"
        )
    if parts.password is not None or _SECRET_OPTIONS & {key for key, _ in parse_qsl(parts.query)}:
        raise ValueError(
            "must not contain a password, because it is part of reports; put it into `~/.pgpass`"
            " or `$PGPASSWORD`"
        )
    return url


def resolve_study_url(url: str, base_dir: Path) -> str:
    """Return the address of a database with an absolute path if it is a file.

    Args:
        url: Checked address.
        base_dir: Folder to which a relative path is relative.
    """
    if not url.startswith(_SQLITE):
        return url
    return f"{_SQLITE}{base_dir.absolute() / url.removeprefix(_SQLITE)}"


def check_study_driver(url: str | None) -> None:
    """Check that the package that a database needs is installed.

    Args:
        url: Checked address; None: the file in the sweep's folder, which needs no package.

    Raises:
        InputError: If it is PostgreSQL, and its package is missing.
    """
    if url is not None and not url.startswith(_SQLITE) and find_spec("psycopg") is None:
        raise InputError(
            "`study_storage` needs the package `psycopg`: pip install 'kinesweep[postgres]'"
        )


def get_study_address(folder: Path, url: str | None) -> str:
    """Return what `optuna-dashboard` and `optuna.load_study` take: an address, or a file's path.

    Args:
        folder: Folder of the sweep.
        url: Address of a database; None: the file in the folder.
    """
    if url is None:
        return str(folder / STUDY_FILE)
    # SQLAlchemy's `postgresql` alone is the driver psycopg2 in its versions before 2.1.
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def format_dashboard_command(folder: Path, url: str | None) -> str:
    """Return the command that shows the study of a sweep in a browser.

    Args:
        folder: Folder of the sweep.
        url: Address of a database; None: the file in the folder.
    """
    return f"optuna-dashboard {shlex.quote(get_study_address(folder, url))}"


def open_study_storage(folder: Path, url: str | None) -> BaseStorage:
    """Open the storage of a sweep's study, and create it if it does not exist.

    A file that Optuna cannot read is renamed, with a warning, and replaced by an empty one.

    Args:
        folder: Folder of the sweep.
        url: Checked address of a database; None: the file in the folder.

    Raises:
        Exception: If the storage cannot be opened; the type depends on Optuna and the database.
    """
    # Otherwise Optuna logs the creation of each study and of the tables.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        is_sqlite = url.startswith(_SQLITE)
        if is_sqlite:
            Path(url.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        timeouts = {"timeout": _CONNECT_TIMEOUT_S} if is_sqlite else _POSTGRES_TIMEOUTS
        # A connection that the server closed while nothing happened is then replaced.
        engine_options = {"pool_pre_ping": True, "connect_args": dict(timeouts)}
        address = get_study_address(folder, url)
        return optuna.storages.RDBStorage(address, engine_kwargs=engine_options)
    path = folder / STUDY_FILE
    try:
        return _open_file(path)
    # No damage: the disk or its permissions may be in order again later.
    except OSError:
        raise
    except Exception:
        # A dashboard may be writing the last line just now, so the file is judged, shortened or
        # renamed only while nobody else writes.
        with get_lock_file(JournalFileSymlinkLock(str(path))):
            return _repair_file(path)


def _repair_file(path: Path) -> BaseStorage:
    """Open a file that could not be read, without its incomplete last line or as an empty one.

    Args:
        path: File with the study, whose lock is held.
    """
    _truncate_incomplete_line(path)
    try:
        return _open_file(path)
    except OSError:
        raise
    except Exception as error:
        damaged = path.with_name(f"{path.name}.damaged")
        path.replace(damaged)
        logger.warning(
            f"{path} is damaged ({type(error).__name__}) and is written again; the old file is"
            f" now {damaged.name}"
        )
        return _open_file(path)


def _open_file(path: Path) -> BaseStorage:
    """Open a file as a storage; read all of it.

    Raises:
        ValueError: If a line is not JSON, or the last one has no end.
    """
    raw = path.read_bytes() if path.exists() else b""
    # Optuna takes a last line that it cannot read for one that is still being written.
    if raw:
        json.loads(raw.splitlines()[-1])
        if not raw.endswith(b"\n"):
            raise ValueError("the last line has no end")
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.storages.JournalStorage(backend)


def _truncate_incomplete_line(path: Path) -> None:
    """Truncate a last line without an end, left by a killed process; do nothing without a file."""
    if not path.exists():
        return
    raw = path.read_bytes()
    complete = raw[: raw.rfind(b"\n") + 1]
    # Optuna would append the next line to it, and then nobody could read the file any more.
    if complete != raw:
        with path.open("rb+") as file:
            file.truncate(len(complete))
