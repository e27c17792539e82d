"""Runs in TensorBoard, read back with its own readers."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from kinesweep.tracking.backends import QUEUE_FILE, TensorBoardTracker
from kinesweep.tracking.queued_run_logger import RunIdentifiers
from kinesweep.tracking.tensorboard.sender import EVENT_FILE
from tracked import tensorboard_points

TRACKER = TensorBoardTracker("How?")


def record(folder, steps, status="finished", params=None, name=None):
    log = TRACKER.open_run_logger(name or RunIdentifiers(str(folder), "r", {"seed": "1"}), folder)
    log.log_params(params or {})
    for step in steps:
        log.log_metrics({"loss": 1.0 + step, "bleu": 10.0 * step}, step)
    log.finish(status)


def texts_of(folder):
    reader = EventAccumulator(str(folder / EVENT_FILE))
    reader.Reload()
    return {
        tag.removesuffix("/text_summary"): reader.Tensors(tag)[-1].tensor_proto.string_val[0]
        for tag in reader.Tags()["tensors"]
        if tag.endswith("/text_summary")
    }


def test_the_same_queue_gives_the_same_bytes(tmp_path):
    """Whatever the file was when its writer died."""
    record(tmp_path, range(5), "stopped", {"a": 1})
    path = tmp_path / EVENT_FILE
    whole = path.read_bytes()
    for damaged in (whole + b"half an event", whole + whole[-200:], whole[:-7], b""):
        path.write_bytes(damaged)
        if len(damaged) < len(whole):
            # Shorter than it was: written again when there is something to write.
            path.write_bytes(damaged)
        record(tmp_path, range(3, 5), "stopped")
        record(tmp_path, range(5, 6), "stopped")
        assert path.read_bytes()[: len(whole)] == whole
        points = tensorboard_points(tmp_path)
        assert points["loss", 5] == [6.0] and all(len(each) == 1 for each in points.values())
        # As it was: the queue without what came later.
        lines = (tmp_path / QUEUE_FILE).read_text().splitlines(keepends=True)
        last = next(n for n, line in enumerate(lines) if '"step": 5' in line)
        (tmp_path / QUEUE_FILE).write_text("".join(lines[:last]))
    record(tmp_path, range(5, 6))
    assert {step for _, step in tensorboard_points(tmp_path)} == set(range(6))


def test_a_run_that_is_overwritten_begins_anew(tmp_path):
    record(tmp_path, range(5))
    log = TRACKER.open_run_logger(RunIdentifiers("r", "r"), tmp_path, overwrite=True)
    log.log_metrics({"loss": 3.0}, 1)
    log.finish("finished")
    assert tensorboard_points(tmp_path) == {("loss", 1): [3.0]}


def test_settings_data_and_texts_are_shown(tmp_path):
    table = tmp_path / "validation.tsv"
    rows = "".join(f"c{n}\tone | two {n}\n" for n in range(50))
    table.write_text("id\thypothesis\n" + rows)
    log = TRACKER.open_run_logger(RunIdentifiers("r", "r", {"phase": "search"}), tmp_path / "r")
    log.log_params({"model.name": "m2m", "many": "x" * 50})
    log.log_dataset("sample", "f" * 64)
    log.log_artifact(table)
    log.log_artifact(tmp_path / "gone.tsv")
    log.log_artifact(tmp_path)
    log.log_metrics({"loss": 1.0}, 1)
    log.finish("pruned")
    texts = texts_of(tmp_path / "r")
    assert b"| model.name | m2m |" in texts["parameters"] and b"search" in texts["tags"]
    assert b"f" * 64 in texts["dataset"] and texts["status"] == b"pruned"
    shown = texts["artifacts/validation.tsv"].decode()
    assert "50 rows" in shown and "one \\| two 19" in shown and "two 20" not in shown
    assert b"No such file" in texts["artifacts/gone.tsv"]
    assert str(tmp_path).encode() in texts[f"artifacts/{tmp_path.name}"]


@pytest.fixture
def sweep(tmp_path):
    """A sweep of two runs with a parameter of each type."""
    types = {"training.learning_rate": "number", "model.kind": "text", "model.frozen": "flag"}
    name = RunIdentifiers(str(tmp_path), "sweep s", objectives=("bleu",), swept_params=types)
    log = TRACKER.open_run_logger(name, tmp_path)
    log.log_params({"question": "How?"})
    for number, kind in enumerate(("linear", "graph")):
        params = {"training.learning_rate": 0.1**number, "model.kind": kind}
        params |= {"model.frozen": bool(number), "training.max_steps": 5}
        record(tmp_path / "runs" / f"abc-s{number}", range(3 + number), params=params)
    log.finish("finished")
    return tmp_path


def test_the_page_of_hyperparameters_compares_the_runs_of_a_sweep(sweep: Path):
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(sweep))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(sweep))
    context = Context(TBContext(data_provider=provider))
    request = RequestContext()
    asked = api_pb2.GetExperimentRequest()
    experiment = get_experiment.Handler(request, context, "", asked).run()
    shown = {info.name: info.type for info in experiment.hparam_infos}
    assert shown == {
        "training.learning_rate": api_pb2.DATA_TYPE_FLOAT64,
        "model.kind": api_pb2.DATA_TYPE_STRING,
        "model.frozen": api_pb2.DATA_TYPE_BOOL,
    }
    wanted = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        start_index=0,
        slice_size=10,
        col_params=[
            api_pb2.ColParams(hparam="training.learning_rate"),
            api_pb2.ColParams(metric=api_pb2.MetricName(tag="bleu"), order=api_pb2.ORDER_DESC),
        ],
    )
    found = list_session_groups.Handler(request, context, "", wanted).run()
    seen = [
        (
            group.sessions[0].name,
            group.hparams["model.kind"].string_value,
            group.hparams["training.learning_rate"].number_value,
            group.hparams["model.frozen"].bool_value,
            group.metric_values[0].value,
        )
        for group in found.session_groups
    ]
    assert seen == [
        ("runs/abc-s1", "graph", 0.1, True, 30.0),
        ("runs/abc-s0", "linear", 1.0, False, 20.0),
    ]


def test_a_full_disk_loses_nothing(monkeypatch, tmp_path, caplog):
    """What could not be written is written by the next process, once."""
    from kinesweep.tracking.tensorboard import events

    def fail(self):
        self._file.flush()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events.EventWriter, "flush", fail)
    record(tmp_path, range(5), "stopped")
    assert caplog.text.count("No space left") == 1
    monkeypatch.undo()
    assert TRACKER.flush_pending(tmp_path) == 0
    points = tensorboard_points(tmp_path)
    assert len(points) == 10 and all(len(each) == 1 for each in points.values())


def test_only_trackers_that_a_run_was_recorded_by_get_it(tmp_path):
    from kinesweep.tracking.backends import MlflowTracker

    record(tmp_path, range(2))
    mlflow = MlflowTracker("http://127.0.0.1:9", "q", tmp_path / "lock")
    assert mlflow.flush_pending(tmp_path) == 0
    lines = [json.loads(line) for line in (tmp_path / QUEUE_FILE).read_text().splitlines()]
    assert {"consumers": ["tensorboard"]} in lines
