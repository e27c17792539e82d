"""Links to a sweep's pages: its runs in the interfaces of its trackers, and its report."""

import logging
from dataclasses import asdict
from pathlib import Path

from kinesweep.core.errors import CheckpointError, TrackingError
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.inputs import find_sweep_dir
from kinesweep.pipelines.sweeps.study import complete_study
from kinesweep.pipelines.sweeps.sweep_report import REPORT_DIR
from kinesweep.report import PAGE_FILE
from kinesweep.sweeps.journal.sweep_metadata import read_sweep_metadata
from kinesweep.tracking.links import RunOrdering, find_sweep_links
from kinesweep.tracking.places import RecordedPlaces, find_recorded_places
from kinesweep.tracking.resolution import find_server_uri
from kinesweep.tracking.saved_views import ChartedColumns
from kinesweep.tracking.server import start_mlflow_server

logger = logging.getLogger(__name__)


def collect_tracking_links(name: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """Collect the address of the MLflow server and the links of one sweep or of all sweeps.

    The server is started if none is known, unless all these sweeps are recorded only elsewhere. If
    all sweeps are listed, those without links are left out and logged with the reason.

    Args:
        name: Name of a sweep; None: all sweeps.

    Returns:
        The server's address, empty if it is not needed, and sweep → name of a page → link or
        command. The page `file` is the report, which exists once a sweep has finished.

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
    places_by_folder = {folder: _find_places(folder) for folder in folders}
    needs_server = not folders or any(each.is_in_mlflow for each in places_by_folder.values())
    uri = ""
    if needs_server:
        uri = find_server_uri(state_dir) or start_mlflow_server(state_dir).address
    links_by_sweep = {}
    for folder, places in places_by_folder.items():
        try:
            mlflow_links = _find_mlflow_links(uri, folder) if places.is_in_mlflow else {}
            links_by_page = {**mlflow_links, **places.commands}
            command = complete_study(folder)
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
        if command:
            links_by_page["Optuna"] = command
        links_by_sweep[folder.name] = links_by_page
    return uri, links_by_sweep


def _find_places(folder: Path) -> RecordedPlaces:
    """Find the trackers of a sweep; none if its recipe says `tracking: none`."""
    places = find_recorded_places(folder)
    try:
        is_tracked = read_sweep_metadata(folder).recipe.tracking != "none"
    except CheckpointError:  # no sweep, which is reported where its links are collected
        return places
    return places if is_tracked else RecordedPlaces(is_in_mlflow=False)


def _find_mlflow_links(uri: str, folder: Path) -> dict[str, str]:
    """Return name of a page → link into MLflow's interface for a sweep.

    Raises:
        CheckpointError: If the folder contains no sweep.
        TrackingError: If the server does not know the sweep.
    """
    space = read_sweep_metadata(folder).space
    objective = space.objectives[0]
    ordering = RunOrdering(objective.name, ascending=objective.direction_sign < 0)
    columns = ChartedColumns(
        [metric.name for metric in space.objectives], list(space.searched_parameters)
    )
    return asdict(find_sweep_links(uri, space.question, str(folder), ordering, columns))
