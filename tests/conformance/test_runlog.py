"""What every run log must do; each implementation is one line of the fixture."""

import inspect
import pickle

import pytest

from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.tracking.backends import (
    CombinedTracker,
    MlflowTracker,
    NullTracker,
    TensorBoardTracker,
    WandbTracker,
)
from kinesweep.tracking.queued_run_logger import RunIdentifiers

FACTORIES = {
    "none": lambda folder: NullTracker(),
    "mlflow, its server away": lambda folder: MlflowTracker(
        "http://127.0.0.1:9", "q", folder / "l"
    ),
    "tensorboard": lambda folder: TensorBoardTracker("q"),
    "wandb, offline": lambda folder: WandbTracker("q", "offline"),
    "wandb, without a key": lambda folder: WandbTracker("q", "online", "http://127.0.0.1:9"),
    "several, one away": lambda folder: CombinedTracker(
        (TensorBoardTracker("q"), MlflowTracker("http://127.0.0.1:9", "q", folder / "l"))
    ),
}


@pytest.fixture(params=FACTORIES)
def logs(request, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return FACTORIES[request.param](tmp_path)


@pytest.fixture
def log(logs, tmp_path):
    return logs.open_run_logger(RunIdentifiers("r", "r", {"seed": "1"}, parent="p"), tmp_path)


def test_factories_travel(logs):
    assert pickle.loads(pickle.dumps(logs)) == logs


@pytest.mark.parametrize("status", ["finished", "pruned", "failed", "stopped"])
def test_a_whole_life_raises_nothing(log, tmp_path, status):
    log.log_params({"a": 1, "b": None, "c": [1, 2], "d": {"e": 1}})
    log.log_params({"a": 2})
    log.log_metrics({"loss": 1.0}, 1)
    log.log_metrics({"loss": float("inf"), "other": float("nan")}, 2)
    log.log_metrics({}, 3)
    log.log_artifact(tmp_path / "not there")
    log.log_dataset("d", "0" * 64)
    log.finish(status)


def _is_away(logs):
    """Whether one of its servers is."""
    return any("127.0.0.1:9" in str(vars(member)) for member in logs.members)


def test_a_run_may_be_opened_again_after_its_end(log, logs, tmp_path):
    log.log_metrics({"loss": 1.0}, 1)
    log.finish("stopped")
    again = logs.open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    before = again.count_pending_records()
    again.log_metrics({"loss": 1.0}, 2) if _is_away(logs) else None
    kept = _is_away(logs)
    assert again.count_pending_records() == before + kept
    assert bool(before) == kept, "what the first opening left waits on"
    again.finish("finished")


def test_what_was_not_sent_waits(log, logs, tmp_path):
    before = log.count_pending_records()
    assert before >= 0
    log.log_metrics({"loss": 1.0}, 1)
    assert log.count_pending_records() == before + 1 or not _is_away(logs)
    log.finish("finished")
    assert bool(logs.flush_pending(tmp_path)) == _is_away(logs)


def test_every_method_of_the_protocol_is_there(log):
    for name, method in inspect.getmembers(RunLogger, inspect.isfunction):
        if not name.startswith("_"):
            own = getattr(type(log), name)
            assert list(inspect.signature(own).parameters) == list(
                inspect.signature(method).parameters
            )
    log.finish("finished")


def test_the_one_that_keeps_nothing_writes_nothing(tmp_path):
    log = NullTracker().open_run_logger(RunIdentifiers("r", "r"), tmp_path)
    assert isinstance(log, NullRunLogger)
    log.log_metrics({"loss": 1.0}, 1)
    log.finish("finished")
    assert not list(tmp_path.iterdir())
