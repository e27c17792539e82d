"""The whole path as people use it: services up, a sweep as a Ray job, its code, services down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe

ROOT = Path(__file__).resolve().parents[2]
SPACE = {
    "question": "Does a tiny sweep end?",
    "recipe": "tiny.yaml",
    "search": {"kind": "tpe", "trials": 2, "seed": 0},
    "scheduler": {"kind": "asha", "grace_evaluations": 1},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity": ["constant", "nearest"],
    "parameters": {"training.learning_rate": {"log": [1e-3, 1e-2]}},
}


def kinesweep(home: Path, *arguments: str, timeout: int = 800) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kinesweep", *arguments]
    return subprocess.run(
        command, env=env, cwd=home, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    corpus = tiny_corpus(folder)
    recipe = tiny_recipe(corpus, folder / "stores", tracking="mlflow")
    plain = recipe.model_dump(mode="json")
    del plain["resources"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    started = kinesweep(folder, "up", "--cores", "2", "--json")
    assert started.returncode == 0, started.stderr
    yield folder
    services = [json.loads(p.read_text()) for p in (folder / "services").glob("*.json")]
    stopped = kinesweep(folder, "down")
    assert stopped.returncode == 0, stopped.stderr
    assert len(services) == 2
    assert not any(runs(service["pid"]) for service in services)


def runs(pid: int) -> bool:
    """Whether a process is there and more than an exit code nobody has asked for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def said(home: Path) -> str:
    """What the first sweep told; it stays for the tests after it, whichever are chosen."""
    done = kinesweep(home, "submit", "space.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def test_a_sweep_as_a_job(home: Path, said: str) -> None:
    for line in ("trial 0", "finals: 2 runs", "bundle verified", "MLflow  http://127.0.0.1"):
        assert line in said
    result = json.loads((home / "sweeps/space/result.json").read_text())
    assert set(result["test"]) == {"1", "2"}
    assert len(result["ranking"][0]["scores"]) == 2
    assert "Test was scored 2 times by now on these features." in result["notes"]
    bundle = home / "exports/space"
    pose = sorted((home / "corpus/poses/test").glob("*.pose"))[0]
    told = kinesweep(home, "translate", str(bundle), str(pose))
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{pose}\t")
    check_tracking(home)
    again = kinesweep(home, "submit", "space.yaml", "--resume")
    assert again.returncode == 0, again.stderr[-3000:]
    assert "2 of them finished before" in again.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("said")
def test_more_trials_later(home: Path) -> None:
    """`--extend` goes on with the search and settles everything anew; test is no longer unseen."""
    done = kinesweep(home, "submit", "space.yaml", "--extend", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((home / "sweeps/space/result.json").read_text())
    assert sum(result["trials"].values()) == 3
    assert any("no longer unseen" in note for note in result["notes"])
    shown = kinesweep(home, "status", "space", "--json")
    assert shown.returncode == 0, shown.stderr
    state = json.loads(shown.stdout.splitlines()[-1])["sweeps"][0]
    assert (state["state"], state["of"]) == ("finished", 3)


@pytest.mark.proof  # `test_search.py` and `test_finals.py` are the short form, without Ray
def test_a_sweep_that_its_budget_stops_ends_with_a_bundle(home: Path) -> None:
    changes = ["search.trials=400", "budget.hours=0.025", "scheduler.kind=none"]
    done = kinesweep(home, "submit", "space.yaml", "--name", "cut", *changes)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((home / "sweeps/cut/result.json").read_text())
    assert 2 <= sum(result["trials"].values()) < 400
    assert any("stopped by its budget" in note for note in result["notes"])
    assert len(result["ranking"][0]["scores"]) == 2
    assert (home / "exports/cut/model.safetensors").exists()


@pytest.mark.slow
def test_a_dry_run_leaves_the_sweep_alone(home: Path) -> None:
    before = sorted(path for path in (home / "sweeps").rglob("*") if path.is_file())
    done = kinesweep(home, "sweep", "space.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "its scores mean nothing" in done.stderr
    assert sorted(path for path in (home / "sweeps").rglob("*") if path.is_file()) == before
    assert (home / "dry-runs/space/bundle").is_dir()
    assert list((home / "dry-runs/space/stores").iterdir())


@pytest.mark.slow
def test_an_interrupt_ends_nothing_early(home: Path) -> None:
    """Ctrl-C leaves with 130 and no result; the same command with `--resume` goes on."""
    command = [sys.executable, "-m", "kinesweep", "sweep", "space.yaml", "--name", "broken"]
    command += ["search.trials=12", "recipe.training.max_steps=100"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_"))}
    env |= {"KINESWEEP_HOME": str(home), "OMP_NUM_THREADS": "1"}
    journal = home / "sweeps/broken/journal.jsonl"
    with subprocess.Popen(command, env=env, cwd=home, stderr=subprocess.PIPE, text=True) as process:
        while not journal.exists() or "trial_ended" not in journal.read_text():
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said[-2000:]
    assert "the same command goes on" in said
    assert not (home / "sweeps/broken/result.json").exists()
    ended = journal.read_text().count("trial_ended")
    done = kinesweep(home, *command[3:], "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 < ended < journal.read_text().count("trial_ended") == 12


@pytest.mark.slow
def test_a_plan_from_a_probe(home: Path) -> None:
    done = kinesweep(home, "plan", "space.yaml", "--cluster", "cpus=4", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    plan = json.loads(done.stdout.splitlines()[-1])
    assert plan["here"]["slots"] == 4
    assert 0 < plan["here"]["hours"] < 0.2
    assert [row["devices"] for row in plan["rows"]][-1] == 512
    assert plan["detectable"] > 0


def check_tracking(home: Path) -> None:
    """Parent and child runs are in MLflow, each with the swept key."""
    from mlflow import MlflowClient

    address = json.loads((home / "services/mlflow.json").read_text())["address"]
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(SPACE["question"])
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert len(children) == 4
    assert all("training.learning_rate" in run.data.params for run in children)
    assert {run.data.tags["phase"] for run in children} == {"search", "finals"}
    assert all(run.info.status in {"FINISHED", "KILLED"} for run in runs)


@pytest.mark.usefixtures("said")
def test_bad_jobs_end_with_their_own_code(home: Path) -> None:
    """All at once."""
    wanted = {
        ("space.yaml",): "--resume",
        ("space.yaml", "--name", "other", "search.trails=3"): "did you mean `trials`?",
        ("space.yaml", "--name", "large", "resources.cpus=99"): "one run needs 1 × (99 CPU)",
        ("space.yaml", "--name", "absent", "--extend", "3"): "there is no sweep `absent`",
        ("nowhere.yaml",): "cannot be read",
    }
    with ThreadPoolExecutor(len(wanted)) as side_by_side:
        ends = list(side_by_side.map(lambda words: kinesweep(home, "submit", *words), wanted))
    for done, words in zip(ends, wanted.values(), strict=True):
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
