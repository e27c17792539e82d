"""Links to a sweep's pages: its runs in MLflow's interface, and the file of its report."""

import logging
from dataclasses import asdict

from kinesweep.core.errors import CheckpointError, TrackingError
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.inputs import find_sweep_dir
from kinesweep.pipelines.sweeps.sweep_report import REPORT_DIR
from kinesweep.report import PAGE_FILE
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_metadata
from kinesweep.tracking.links import RunOrdering, find_sweep_links
from kinesweep.tracking.resolution import find_server_uri
from kinesweep.tracking.server import start_mlflow_server

logger = logging.getLogger(__name__)


def collect_tracking_links(name: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """Collect the address of the MLflow server and the links of one sweep or of all sweeps.

    The server is started if none is known. If all sweeps are listed, those without links are left
    out and logged with the reason.

    Args:
        name: Name of a sweep; None: all sweeps.

    Returns:
        The server's address, and sweep → name of a page → link. The page `file` is the report,
        which exists once a sweep has finished.

    Raises:
        CheckpointError: If the folder of the named sweep contains no sweep.
        InputError: If there is no sweep of this name.
        TrackingError: If the server does not start or does not know the named sweep.
    """
    state_dir = get_state_dir()
    if name:
        folders = [find_sweep_dir(name)]
    else:
        folders = sorted(path for path in (state_dir / "sweeps").glob("*") if path.is_dir())
    uri = find_server_uri(state_dir) or start_mlflow_server(state_dir).address
    links_by_sweep = {}
    for folder in folders:
        try:
            space = read_sweep_metadata(folder).space
            objective = space.objectives[0]
            ordering = RunOrdering(objective.name, ascending=objective.direction_sign < 0)
            links_by_page = asdict(find_sweep_links(uri, space.question, str(folder), ordering))
        except (CheckpointError, TrackingError) as error:
            # An error is fatal for a named sweep; in the list of all, the others are still shown.
            if name:
                raise
            logger.info(f"{folder.name}: {error}")
            continue
        # The report's file exists only once the sweep has finished.
        page = folder / REPORT_DIR / PAGE_FILE
        if page.exists():
            links_by_page["file"] = page.as_uri()
        links_by_sweep[folder.name] = links_by_page
    return uri, links_by_sweep
