"""What people look at, in a real browser: the report, and MLflow through our links."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

if TYPE_CHECKING:
    from conftest import Look

pytestmark = pytest.mark.slow
RATE, DROPOUT = "training.learning_rate", "model.backbone.scratch.dropout"
TRIALS = 5


def test_the_report(home: Path, links: dict[str, str], look: "Look") -> None:
    """It draws every figure, complains of nothing, asks nobody, and tells what its data tells."""
    page = look.open(links["file"])
    page.wait_for_selector("#samples tr")
    drawn = page.locator(".js-plotly-plot .main-svg").count()
    look.keep("report")
    assert look.errors == []
    assert [url for url in look.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert drawn >= 6
    data = json.loads((home / "sweeps/space/report/report.json").read_text())
    rows = page.locator("#ranking-table tbody tr")
    shown = [
        (rows.nth(n).get_attribute("data-name"), rows.nth(n).locator("td").nth(1).inner_text())
        for n in range(rows.count())
    ]
    assert shown == [(line["name"], f"{line['mean']:.2f}") for line in data["ranking"]]
    assert page.locator("#answer").inner_text() == data["answer"]


def test_clips_of_the_report_lead_to_what_was_looked_at(
    links: dict[str, str], look: "Look"
) -> None:
    page = look.open(links["file"])
    assert page.locator("figure img").count() == 3
    assert all(page.evaluate("[...document.images].map((i) => i.naturalWidth > 200)"))
    said = page.locator("figcaption b").first.inner_text()
    page.locator("figcaption a").first.click()
    page.wait_for_selector("#tokens button")
    assert page.locator("#hypothesis").inner_text() == said
    page.locator("#tokens button").nth(1).click()
    look.keep("report-attention")
    assert look.errors == []


def test_leafing_through_translations(links: dict[str, str], look: "Look") -> None:
    page = look.open(links["file"])
    scores = page.locator("#samples td:nth-child(4)")
    worst = [float(text) for text in scores.all_inner_texts()]
    assert worst == sorted(worst)
    page.select_option("#sort-order", "best")
    best = [float(text) for text in scores.all_inner_texts()]
    assert best == sorted(best, reverse=True)
    signers = page.locator("#signer option").all_inner_texts()[1:]
    page.select_option("#signer", signers[0])
    assert set(page.locator("#samples td:nth-child(2)").all_inner_texts()) == {signers[0]}
    page.fill("#search-text", "no clip says this")
    assert page.locator("#position").inner_text() == "no matches"


def test_mlflow_compares_the_finalists(links: dict[str, str], look: "Look") -> None:
    """Parameters and scores of every final run, and every trial in parallel coordinates."""
    page = look.open(links["details_finalists"])
    page.get_by_text("Comparing 6 Runs").first.wait_for()
    page.wait_for_selector(".js-plotly-plot")
    text = page.inner_text("body")
    look.keep("mlflow-finalists")
    for wanted in (RATE, "model.backbone.scratch.dropout", "training.seed", "bleu", "finals"):
        assert wanted in text, wanted
    page = look.open(links["details_trials"])
    page.get_by_text(f"Comparing {TRIALS} Runs").first.wait_for()
    plot = page.wait_for_selector(".js-plotly-plot")
    assert plot is not None
    axes = plot.evaluate("plot => plot.data[0].dimensions.map(d => [d.label, d.values.length])")
    assert {RATE, "model.backbone.scratch.dropout"} <= {label for label, _ in axes}
    assert {count for _, count in axes} == {TRIALS}
    look.keep("mlflow-trials")


@pytest.mark.parametrize(("link", "count"), [("compare_trials", TRIALS), ("compare_finalists", 6)])
def test_mlflow_charts_the_objective_over_the_searched_parameters(
    links: dict[str, str], look: "Look", link: str, count: int
) -> None:
    """The link opens with these and nothing else; MLflow's own choice would show `samples`."""
    page = look.open(links[link])
    page.get_by_text("Searched parameters").first.wait_for()
    page.get_by_text("Sort: bleu").first.wait_for()
    page.get_by_text(f"{count} matching runs").first.wait_for()
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length > 2")
    axes = "plot => [plot.layout.xaxis.title.text, plot.layout.yaxis.title.text]"
    plots = page.query_selector_all(".js-plotly-plot")
    assert [p.evaluate(axes) for p in plots] == [[DROPOUT, "bleu"], [RATE, "bleu"], [DROPOUT, RATE]]
    points = "plot => plot.data.find(d => d.type === 'scatter').x.length"
    assert [plot.evaluate(points) for plot in plots] == [count] * 3
    # Parallel coordinates are drawn by another library.
    page.locator(".parcoords").first.wait_for()
    labels = page.locator(".parcoords .dimension .label").all_text_contents()
    look.keep(f"mlflow-{link}")
    assert len(labels) == 3 and labels[-1] == "bleu", labels


def test_mlflow_lists_the_runs_and_shows_the_report(links: dict[str, str], look: "Look") -> None:
    page = look.open(links["runs"])
    # The trials, two seeds of two finalists and of the untuned recipe, and their parent.
    page.get_by_text(f"{TRIALS + 6 + 1}").first.wait_for()
    page.get_by_text("matching runs").first.wait_for()
    look.keep("mlflow-runs")
    page = look.open(links["report"])
    answer = page.frame_locator("iframe").first.locator("#answer")
    answer.wait_for()
    assert "is best with bleu" in answer.inner_text()
    look.keep("mlflow-report")


def test_mlflow_orders_the_runs_by_the_objective(links: dict[str, str], look: "Look") -> None:
    page = look.open(links["finalists"])
    page.get_by_text("Sort: bleu").first.wait_for()
    page.get_by_text("6 matching runs").first.wait_for()
    page.wait_for_selector(".js-plotly-plot")
    text = page.inner_text("body")
    assert "6 matching runs" in text and "Sort: bleu" in text
    # What MLflow's own page reports on the console (a missing icon, a resize) says nothing of us.
    client = MlflowClient(links["finalists"].partition("/#/")[0])
    addresses = page.locator("a[href*='/runs/']")
    shown = [str(addresses.nth(n).get_attribute("href")) for n in range(addresses.count())]
    scores = [client.get_run(at.rpartition("/")[2]).data.metrics["bleu"] for at in shown]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
    look.keep("mlflow-finalists-charts")
