"""A recorded sweep and a real browser; screenshots are kept under `build/screenshots`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, sync_playwright

from corpus import tiny_corpus, tiny_recipe
from needs import need

SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
TRIALS = 5
SPACE = {
    "question": "Which rate is best for a tiny model?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": TRIALS, "seed": 0},
    "scheduler": {"kind": "none"},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "sanity": ["constant", "nearest"],
    "parameters": {
        "training.learning_rate": {"log": [1e-3, 1e-1]},
        "model.backbone.scratch.dropout": {"float": [0.0, 0.4]},
    },
}


def kinesweep(home: Path, *arguments: str) -> str:
    """A verb as a process of its own. Returns its last line on stdout."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return (done.stdout.splitlines() or [""])[-1]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one sweep, its services running."""
    need("chromium")
    folder = tmp_path_factory.mktemp("home")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", tracking="mlflow")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    kinesweep(folder, "up", "--cores", "2")
    try:
        kinesweep(folder, "submit", "space.yaml")
        yield folder
    finally:
        kinesweep(folder, "down")


@pytest.fixture(scope="session")
def links(home: Path) -> dict[str, str]:
    """What `kinesweep ui` says of it."""
    return dict(json.loads(kinesweep(home, "ui", "space", "--json"))["sweeps"]["space"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
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
