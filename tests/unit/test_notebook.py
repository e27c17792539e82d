"""The notebook of the documentation runs from a corpus to a translated clip."""

import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "jobs/recipes", tmp_path / "jobs/recipes")
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "state"))
    notebook = nbformat.read(ROOT / "docs/quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        # Fewer clips and steps than a reader would like, but every call.
        cell.source = cell.source.replace("clips=1500", "clips=60").replace("=420", "=6")
        cell.source = cell.source.replace("eval_steps=140", "eval_steps=3")
    assert "clips=60" in notebook.cells[3].source and "max_steps=6" in notebook.cells[3].source
    client = nbclient.NotebookClient(
        notebook, resources={"metadata": {"path": str(tmp_path / "docs")}}, timeout=300
    )
    client.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in code for output in cell.outputs]
    assert not [output for output in shown if output.output_type == "error"]
    html = "".join(output.get("data", {}).get("text/html", "") for output in shown)
    assert html.count("<progress") >= 1  # a bar below the cell that extracts
    for title in ("invalid rows", "Feature store", "finished after 6 steps", "signature"):
        assert title in html, title
    (translated,) = (output for output in code[-1].outputs if output.output_type != "stream")
    assert translated.data["text/plain"].startswith("['")
