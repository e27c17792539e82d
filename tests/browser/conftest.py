"""A recorded sweep and a real browser; screenshots are kept under `build/screenshots`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright
from typer.testing import CliRunner

from corpus import tiny_corpus, tiny_recipe
from kinesweep.cli import app
from kinesweep.pipelines.sweeps import sweep as sweeps
from kinesweep.pipelines.sweeps import winner
from kinesweep.pipelines.sweeps.sweep import SweepRequest
from kinesweep.store.extraction.build import extract_locally
from kinesweep.sweeps.sweep import Sweep
from kinesweep.tracking import server
from needs import need
from sweeping import Here

SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
TRIALS = 5
SPACE = {
    "question": "Which rate is best for a tiny model?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": TRIALS, "seed": 0},
    "pruner": {"kind": "none"},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "sanity_baselines": ["constant", "nearest"],
    "parameters": {
        "training.learning_rate": {"log": [1e-3, 1e-1]},
        "model.backbone.scratch.dropout": {"float": [0.0, 0.4]},
    },
}


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one sweep, and the MLflow server that recorded it.

    All but Ray is real: `tests/cluster/test_submit.py` has the whole path through `kinesweep up`.
    """
    need("chromium")
    folder = tmp_path_factory.mktemp("home")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", tracking="mlflow")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    server.start_mlflow_server(folder)
    try:
        with at_home(folder) as patch:
            patch.setattr(sweeps, "Sweep", partial(Sweep, open_runner=Here))
            patch.setattr(sweeps, "extract_features", extract_locally)
            # Reads the bundle in a new process; nobody looks at the bundle here.
            patch.setattr(winner, "verify_bundle", lambda *_: 0)
            sweeps.run_requested_sweep(SweepRequest(folder / "space.yaml", (), "space", folder))
        yield folder
    finally:
        server.stop_mlflow_server(folder)


@contextmanager
def at_home(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Let verbs of this process use a state folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("KINESWEEP_HOME", str(folder))
        yield patch


@pytest.fixture(scope="package")
def links(home: Path) -> dict[str, str]:
    """What `kinesweep ui` says of it."""
    with at_home(home):
        told = CliRunner().invoke(app, ["ui", "space", "--json"])
    assert told.exit_code == 0, told.output
    return dict(json.loads(told.stdout.splitlines()[-1])["sweeps"]["space"])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, until the last test of this folder.

    Playwright has an event loop run in this thread meanwhile, so no other test could start one.
    """
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=need("chromium"), args=["--no-sandbox"]
        )
        yield started
        started.close()


class Look:
    """Opens pages, notes what the browser complains of, and keeps pictures."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)
        page.on("request", lambda request: self.requests.append(request.url))

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, address: str) -> Page:
        """Opens an address; who calls waits for what must be there (MLflow's pages never rest)."""
        self.page.goto("about:blank")  # another `#` alone would not load anything
        self.page.goto(address)
        return self.page

    def keep(self, name: str) -> None:
        """Keeps a picture of the whole page."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(60_000)
    yield Look(page)
    page.close()
