"""The registry at a real MLflow server: who becomes champion, and that the page says why."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.core.io import write_json
from kinesweep.evaluation.predictions import Prediction, write_predictions
from kinesweep.pipelines.sweeps.model_registry import register_winner
from kinesweep.store import Store
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.tracking import server
from kinesweep.tracking.backends import MlflowTracker
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.training.run_records.result import RunResult

NAME = "tiny"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    yield server.start_mlflow_server(home).address
    server.stop_mlflow_server(home)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("registry")
    return tiny_store(tiny_recipe(tiny_corpus(folder, clips=300), folder / "stores"))


@dataclass(frozen=True)
class Lab:
    """Sweeps whose winners say what is wanted of them."""

    address: str
    store: Store
    folder: Path

    def sweep(self, number: int, right: float, signature: str = "raw") -> str:
        """A sweep whose winner gets a share of the sentences right, and what became of it."""
        place = self.folder / f"sweep{number}"
        logs = MlflowTracker(self.address, "q", self.folder / "lock")
        log = logs.open_run_logger(RunIdentifiers(str(place), place.name), place)
        log.log_metrics({"score": right}, 0)
        log.finish("finished")
        runs = [self._run(place / f"c-s{seed}", right, seed, signature) for seed in (1, 2, 3)]
        bundle = place / "bundle"
        bundle.mkdir()
        write_json(bundle / "manifest.json", {"files": {"a": f"{number}"}})
        outcome = self._outcome([str(run) for run in runs])
        again = [register_winner(logs, place, NAME, outcome, self.store, bundle) for _ in range(2)]
        assert again[1].endswith("already registered")
        return again[0]

    def _run(self, run: Path, right: float, seed: int, signature: str) -> Path:
        """A run that was wrong elsewhere with each seed."""
        records = sorted(self.store.get_records("validation"), key=lambda r: r.clip.id)
        lines = [
            Prediction(
                r.clip.id,
                r.clip.texts[0] if (7 * n + seed) % 20 < 20 * right else "no idea at all here",
                r.clip.texts,
            )
            for n, r in enumerate(records)
        ]
        write_predictions(run / "predictions/validation.tsv", lines)
        empty: dict[str, float] = {}
        result = RunResult("finished", "max_steps", 1, 1, 1, empty, empty, "0", 1.0, run)
        write_json(run / "result.json", {**result.to_json(), "signatures": {"bleu": signature}})
        return run

    def _outcome(self, runs: list[str]) -> SweepOutcome:
        best = RankedConfiguration("a", 1.0, 0.5, 1.5, {1: 1.0}, 0, 0, 0, 0, 0, 1, False)
        return SweepOutcome("q", "", "bleu", "a", {}, runs, [best], {}, {}, [], {}, {}, [])

    @property
    def champion(self) -> str:
        """Its number."""
        found = MlflowClient(self.address).get_model_version_by_alias(NAME, "champion")
        return str(found.version)

    @property
    def page(self) -> list[str]:
        """The model's page, the newest line first."""
        text = MlflowClient(self.address).get_registered_model(NAME).description
        return list(text.split("\n"))


@pytest.mark.slow
def test_only_a_better_winner_moves_the_alias(address: str, store: Store, tmp_path: Path) -> None:
    lab = Lab(address, store, tmp_path)
    assert "version 1, champion" in lab.sweep(1, right=0.5)
    assert "the first" in lab.page[0]
    assert "not significantly different from version 1" in lab.sweep(2, right=0.5)
    assert "behind version 1" in lab.sweep(3, right=0.1)
    assert lab.champion == "1"
    assert "version 4, champion" in lab.sweep(4, right=0.95)
    assert lab.champion == "4"
    assert "ahead of version 1 by" in lab.page[0]
    assert "scored on other sentences" in lab.sweep(5, right=1.0, signature="lowercased")
    assert lab.champion == "4"
    assert [line.split("**")[1] for line in lab.page] == [f"Version {n}" for n in (5, 4, 3, 2, 1)]
    versions = MlflowClient(address).search_model_versions(f"name = '{NAME}'")
    assert len(versions) == 5
    assert all(version.source.endswith("/bundle") for version in versions)
