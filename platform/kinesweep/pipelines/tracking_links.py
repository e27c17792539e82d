"""Links to a sweep's pages: its runs in MLflow's interface, and the file of its report."""

import logging
from dataclasses import asdict

from kinesweep.core.errors import CheckpointError, TrackingError
from kinesweep.core.paths import state_home
from kinesweep.pipelines.inputs import sweep_folder
from kinesweep.pipelines.sweep_report import REPORT
from kinesweep.report import PAGE
from kinesweep.sweeps.journal.sweep_metadata import read_record
from kinesweep.tracking.backends import known_server
from kinesweep.tracking.links import find_links
from kinesweep.tracking.server import start_server

logger = logging.getLogger(__name__)


def sweep_links(name: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the address of the MLflow server and the links of one sweep or of all sweeps.

    The server is started if none is known.

    Args:
        name: Name of a sweep; None: all sweeps.

    Returns:
        The server's address, and sweep → name of a page → link.

    Raises:
        InputError: If there is no sweep of this name.
        TrackingError: If the server does not start or does not know the named sweep.
    """
    home = state_home()
    there = (home / "sweeps").glob("*")
    folders = [sweep_folder(name)] if name else sorted(path for path in there if path.is_dir())
    uri = known_server(home) or start_server(home).address
    links = {}
    for folder in folders:
        try:
            question = read_record(folder).space.question
            found = asdict(find_links(uri, question, str(folder)))
        except (CheckpointError, TrackingError) as error:
            # An error is fatal for a named sweep; in the list of all, the others are still shown.
            if name:
                raise
            logger.info(f"{folder.name}: {error}")
            continue
        # The report's file exists only once the sweep has finished.
        page = folder / REPORT / PAGE
        links[folder.name] = {**found, **({"file": page.as_uri()} if page.exists() else {})}
    return uri, links
