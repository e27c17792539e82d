"""The whole path as people use it: services up, a sweep as a Ray job, its code, services down.

One submitted sweep is looked at by many tests. While it runs a real Prometheus scrapes it, and its
MLflow server dies for some seconds and comes back.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from commands import command, environment, kinesweep
from corpus import tiny_corpus, tiny_recipe
from kinesweep.tracking import server
from kinesweep.tracking.mlflow_client import RUN_KEY_TAG
from needs import need
from noise import assert_no_ray_lines
from prometheus import board_queries, has_data, prometheus

AWAY_S = float(os.environ.get("KINESWEEP_AWAY_S", "6"))
"""Seconds without an MLflow server; `make soak` asks for 60."""
STEPS = int(100 * AWAY_S)
"""Of a run, so that the sweep outlasts the time without a server."""
SPACE = {
    "question": "Does a tiny sweep end?",
    "recipe": "tiny.yaml",
    "search": {"kind": "tpe", "trials": 2, "seed": 0},
    "pruner": {"kind": "asha", "grace_period": 1},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity_baselines": ["constant", "nearest"],
    "parameters": {"training.learning_rate": {"log": [1e-3, 1e-2]}},
}


@dataclass(frozen=True)
class Home:
    """A state folder with its services.

    Attributes:
        folder: The state folder, with a corpus, a recipe and a search space.
        ray_folder: Folder of Ray's files.
    """

    folder: Path
    ray_folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Variables of its commands; metrics are handed on each 3 s instead of each ten.

        Ray forgets a metric after two of these intervals, and a rate needs two scrapes of it. What
        nodes use is costly to measure and has no rates.
        """
        variables = {
            "RAY_metrics_report_interval_ms": "3000",
            "REPORTER_UPDATE_INTERVAL_MS": "15000",
        }
        return environment(self.folder, self.ray_folder, **variables)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return kinesweep(self.folder, self.env, *arguments)

    def result(self, sweep: str) -> dict[str, Any]:
        """Return what a sweep found."""
        return dict(json.loads((self.folder / f"sweeps/{sweep}/result.json").read_text()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    made = Home(folder, Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp")))
    training = {"max_steps": STEPS, "eval_steps": STEPS // 4, "logging_steps": 10}
    recipe = tiny_recipe(
        tiny_corpus(folder), folder / "stores", training=training, tracking="mlflow"
    )
    plain = recipe.model_dump(mode="json")
    del plain["resources"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    started = made.run("up", "--cores", "2", "--json")
    assert started.returncode == 0, started.stderr
    yield made
    services = [json.loads(p.read_text()) for p in (folder / "services").glob("*.json")]
    stopped = made.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert len(services) == 2
    assert not any(runs(service["pid"]) for service in services)
    shutil.rmtree(made.ray_folder, ignore_errors=True)


def runs(pid: int) -> bool:
    """Return whether a process is there and more than an exit code nobody has asked for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Watch:
    """Looks at a sweep while it runs.

    Attributes:
        missing: Queries of the boards that had no data yet.
        was_away: Whether the MLflow server was killed and started again.
        errors: What went wrong in the threads.
    """

    home: Home
    missing: dict[str, str] = field(default_factory=board_queries)
    was_away: bool = False
    errors: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self, look: Callable[[], None]) -> threading.Thread:
        """Run one of the looks in a thread."""

        def guarded() -> None:
            try:
                look()
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def end(self) -> None:
        """End the looks."""
        self._over.set()

    def ask_boards(self, address: str) -> None:
        """Ask all queries again and again until each had data once."""
        while self.missing and not self._over.wait(0.5):
            missing = {k: q for k, q in self.missing.items() if not has_data(address, q)}
            self.missing = missing

    def take_server_away(self) -> None:
        """Kill the MLflow server once a point of a run has arrived, and start it again."""
        service = server.find_running_mlflow_server(self.home.folder)
        assert service is not None
        while not any("loss" in run.data.metrics for run in recorded_runs(service.address)):
            if self._over.wait(0.5):
                return
        os.killpg(service.pid, signal.SIGKILL)
        self._over.wait(AWAY_S)
        assert server.start_mlflow_server(self.home.folder).address == service.address
        self.was_away = not self._over.is_set()


def recorded_runs(address: str) -> list[Any]:
    """Return the runs of the sweep's experiment, its own included."""
    client = MlflowClient(address)
    found = client.get_experiment_by_name(SPACE["question"])
    return [] if found is None else list(client.search_runs([found.experiment_id]))


@dataclass(frozen=True)
class Observed:
    """The first sweep: what it said, and what was seen of it meanwhile."""

    said: str
    watch: Watch
    boards_watched: bool


@pytest.fixture(scope="module")
def observed(home: Home) -> Observed:
    """Submit the sweep that the tests below look at."""
    program = shutil.which("prometheus")
    boards = (
        prometheus(program, home.folder, home.ray_folder)
        if program is not None
        else nullcontext("")
    )
    watch = Watch(home)
    with boards as address:
        looks = [watch.start(watch.take_server_away)]
        if address:
            looks.append(watch.start(lambda: watch.ask_boards(address)))
        done = home.run("submit", "space.yaml")
        watch.end()
        for look in looks:
            look.join()
    assert done.returncode == 0, done.stderr[-3000:]
    return Observed(done.stderr, watch, bool(address))


def test_a_sweep_as_a_job(home: Home, observed: Observed) -> None:
    for line in ("trial 0", "finals: 2 runs", "bundle verified", "MLflow  http://127.0.0.1"):
        assert line in observed.said
    assert "48 to compute" in observed.said, "the extraction is a part of it"
    assert_no_ray_lines(observed.said)
    result = home.result("space")
    assert set(result["test"]) == {"1", "2"}
    assert len(result["ranking"][0]["scores"]) == 2
    assert "Test has been scored 2 times on these features so far." in result["notes"]
    pose = sorted((home.folder / "corpus/poses/test").glob("*.pose"))[0]
    told = home.run("translate", str(home.folder / "exports/space"), str(pose))
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{pose}\t")
    assert_no_ray_lines(told.stdout + told.stderr)


def test_tracking_has_parent_and_children(home: Home, observed: Observed) -> None:
    """Each child with the swept key; no point is lost or repeated while the server is away."""
    assert observed.watch.errors == []
    assert observed.watch.was_away, "the sweep ended before the server was back"
    service = server.find_running_mlflow_server(home.folder)
    assert service is not None
    found = recorded_runs(service.address)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert len(children) == 4
    assert all("training.learning_rate" in run.data.params for run in children)
    assert {run.data.tags["phase"] for run in children} == {"search", "finals"}
    assert all(run.info.status in {"FINISHED", "KILLED"} for run in found)
    by_key = {run.data.tags.get(RUN_KEY_TAG): run for run in found}
    files = sorted((home.folder / "sweeps/space/runs").glob("*/metrics.jsonl"))
    assert len(files) == 4
    client = MlflowClient(service.address)
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        names = {name for row in rows for name in row} - {"step"}
        assert {"loss", "token_loss"} <= names
        for name in names:
            wanted = Counter({row["step"] for row in rows if name in row})
            points = client.get_metric_history(by_key[str(file.parent)].info.run_id, name)
            assert Counter(point.step for point in points) == wanted, (file, name)


def test_every_query_of_every_board_has_data(observed: Observed) -> None:
    if not observed.boards_watched:
        need("prometheus")
    assert len(board_queries()) > 20
    assert observed.watch.errors == []
    assert observed.watch.missing == {}


@pytest.mark.slow
@pytest.mark.usefixtures("observed")
def test_one_run_without_a_job(home: Home) -> None:
    """With features of its own, so it extracts first; on the head that runs."""
    words = ("training.max_steps=4", "store.dtype=float32", "tracking=none", "--folder", "runs/one")
    done = home.run("train", "tiny.yaml", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "48 to compute" in done.stderr
    assert "finished after 4 steps: bleu " in done.stderr
    assert not done.stdout
    assert_no_ray_lines(done.stderr)


@pytest.mark.slow
@pytest.mark.usefixtures("observed")
def test_more_trials_later(home: Home) -> None:
    """`--extend` goes on with the search and settles everything anew; test is no longer unseen.

    The job is that of `jobs`, which calls the public API.
    """
    script = str(Path(__file__).resolve().parents[2] / "jobs/sweep.py")
    command = [sys.executable, script, "space.yaml", "--extend", "1"]
    done = subprocess.run(command, cwd=home.folder, env=home.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        "gap_to_best" in done.stdout and f"bundle: {home.folder / 'exports/space'}" in done.stdout
    )
    assert_no_ray_lines(done.stdout + done.stderr)
    assert "2 already finished" in done.stderr or "1 already finished" in done.stderr
    result = home.result("space")
    assert sum(result["trials"].values()) == 3
    assert any("no longer unseen" in note for note in result["notes"])
    shown = home.run("status", "space", "--json")
    assert shown.returncode == 0, shown.stderr
    state = json.loads(shown.stdout.splitlines()[-1])["sweeps"][0]
    assert (state["state"], state["of"]) == ("finished", 3)


@pytest.mark.proof  # `test_search.py` and `test_finals.py` are the short form, without Ray
def test_a_sweep_that_its_budget_stops_ends_with_a_bundle(home: Home) -> None:
    changes = ["search.trials=400", "budget.hours=0.025", "pruner.kind=none"]
    changes.append("recipe.training.max_steps=40")
    done = home.run("submit", "space.yaml", "--name", "cut", *changes)
    assert done.returncode == 0, done.stderr[-3000:]
    result = home.result("cut")
    assert 2 <= sum(result["trials"].values()) < 400
    assert any("stopped by its budget" in note for note in result["notes"])
    assert len(result["ranking"][0]["scores"]) == 2
    assert (home.folder / "exports/cut/model.safetensors").exists()


@pytest.mark.slow
def test_a_dry_run_leaves_the_sweep_alone(home: Home) -> None:
    sweeps = home.folder / "sweeps"
    before = sorted(path for path in sweeps.rglob("*") if path.is_file())
    done = home.run("sweep", "space.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "its scores are meaningless" in done.stderr
    assert sorted(path for path in sweeps.rglob("*") if path.is_file()) == before
    assert (home.folder / "dry-runs/space/bundle").is_dir()
    assert list((home.folder / "dry-runs/space/stores").iterdir())


@pytest.mark.slow
def test_an_interrupt_ends_nothing_early(home: Home) -> None:
    """Ctrl-C leaves with 130 and no result; the same command with `--resume` goes on."""
    words = ["sweep", "space.yaml", "--name", "broken", "search.trials=6"]
    words.append("recipe.training.max_steps=100")
    journal = home.folder / "sweeps/broken/journal.jsonl"
    with subprocess.Popen(
        command(*words), env=home.env, cwd=home.folder, stderr=subprocess.PIPE, text=True
    ) as process:
        while not journal.exists() or "trial_ended" not in journal.read_text():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said[-2000:]
    assert "run the same command to continue" in said
    assert not (home.folder / "sweeps/broken/result.json").exists()
    ended = journal.read_text().count("trial_ended")
    done = home.run(*words, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 < ended < journal.read_text().count("trial_ended") == 6


@pytest.mark.slow
def test_a_plan_from_a_probe(home: Home) -> None:
    done = home.run("plan", "space.yaml", "--cluster", "cpus=4", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    plan = json.loads(done.stdout.splitlines()[-1])
    assert plan["here"]["slots"] == 4
    assert 0 < plan["here"]["hours"] < 0.2
    assert [row["devices"] for row in plan["rows"]][-1] == 512
    assert plan["min_detectable_difference"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("observed")
def test_jobs_end_with_their_own_code(home: Home) -> None:
    """All at once; a finished sweep that goes on shows its result."""
    wanted = {
        # It may find the sweep itself, or the job below that goes on with it.
        ("space.yaml",): (2, "--resume|another process runs the sweep `space`"),
        ("space.yaml", "--resume"): (0, "bundle verified"),
        ("space.yaml", "--name", "large", "resources.cpus=99"): (
            2,
            r"one run needs 1 × \(99 CPU\)",
        ),
        ("nowhere.yaml",): (2, "cannot be read"),
    }
    with ThreadPoolExecutor(len(wanted)) as side_by_side:
        ends = list(side_by_side.map(lambda words: home.run("submit", *words), wanted))
    for done, (code, words) in zip(ends, wanted.values(), strict=True):
        assert done.returncode == code, done.stderr[-3000:]
        assert re.search(words, done.stderr), done.stderr[-3000:]
        assert "Traceback" not in done.stderr
