"""MLflow's comparison of 300 runs opens through our link."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from kinesweep.tracking import server
from kinesweep.tracking.links import RunOrdering, SweepLinks, find_sweep_links
from kinesweep.tracking.mlflow_client import PARENT_TAG, RUN_KEY_TAG
from kinesweep.tracking.saved_views import ChartedColumns

if TYPE_CHECKING:
    from conftest import Look

pytestmark = pytest.mark.slow
RUNS = 300


@pytest.fixture(scope="module")
def links(home: Path) -> SweepLinks:
    """To a sweep of many runs, made up."""
    uri = server.start_mlflow_server(home).address
    client = MlflowClient(uri)
    experiment = client.create_experiment("many")
    parent = client.create_run(experiment, tags={RUN_KEY_TAG: "sweep"}).info.run_id

    def make(number: int) -> None:
        tags = {PARENT_TAG: parent, "phase": "search"}
        run = client.create_run(experiment, tags=tags, run_name=f"search {number}").info.run_id
        scores = [Metric("bleu", number / 10, 0, 0)]
        client.log_batch(run, scores, [Param("rate", str(number / 1000))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(RUNS)))
    return find_sweep_links(
        uri, "many", "sweep", RunOrdering("bleu"), ChartedColumns(["bleu"], ["rate"])
    )


def test_300_runs_beside_each_other(links: SweepLinks, look: "Look") -> None:
    # There are none.
    assert links.finalists == links.compare_finalists == links.details_finalists == ""
    page = look.open(links.details_trials)
    page.get_by_text(f"Comparing {RUNS} Runs").first.wait_for()
    plot = page.wait_for_selector(".js-plotly-plot")
    assert plot is not None
    axes = plot.evaluate("plot => plot.data[0].dimensions.map(d => [d.label, d.values.length])")
    assert dict(axes) == {"rate": RUNS, "bleu": RUNS}
    look.keep("mlflow-300")
    page = look.open(links.trials)
    page.get_by_text("Sort: bleu").first.wait_for()
    page.get_by_text(f"search {RUNS - 1}", exact=True).first.wait_for()  # the best one
