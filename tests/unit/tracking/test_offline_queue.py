"""The spool: what a killed process recorded is there, once, for the next one."""

import multiprocessing
import os

import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.offline_queue import OfflineQueue

HEAD = {"key": "r", "title": "r", "parent": None, "experiment": "e"}


def opened(path, **more):
    return OfflineQueue(path, HEAD, timeout_s=0.2, **more)


def left_open(path):
    """Writes and dies without closing."""
    spool = OfflineQueue(path, HEAD, 0.2)
    spool.append("params", {"a": "1"})
    spool.append("metrics", {"loss": 1.0}, step=3)
    spool.acknowledge(spool.get_pending_records()[0])
    os._exit(9)


def test_what_a_killed_process_wrote_is_pending(tmp_path):
    path = tmp_path / "spool.jsonl"
    child = multiprocessing.get_context("fork").Process(target=left_open, args=(path,))
    child.start()
    child.join()
    spool = opened(path)
    (record,) = spool.get_pending_records()
    assert (record.kind, record.value, record.step) == ("metrics", {"loss": 1.0}, 3)
    assert spool.last_steps == {"loss": 3} and spool.params == {"a"}


def test_consumers_of_one_queue_take_its_records_at_their_own_pace(tmp_path):
    path = tmp_path / "s"
    spool = opened(path, consumers=("mlflow", "tensorboard", "wandb"))
    records = [spool.append("metrics", {"loss": 1.0}, step) for step in range(4)]
    spool.acknowledge(records[3])
    spool.acknowledge(records[1], "tensorboard", {"bytes": 7})
    spool.advance(records[2], "wandb")
    left = [len(spool.get_pending_records(name)) for name in ("mlflow", "tensorboard", "wandb")]
    assert left == [0, 2, 1]
    assert spool.read_records() == records
    spool.close()
    again = opened(path, consumers=("mlflow", "tensorboard", "wandb"))
    left = [len(again.get_pending_records(name)) for name in ("mlflow", "tensorboard", "wandb")]
    assert left == [0, 2, 4], "what was only advanced is offered again"
    assert again.states == {"tensorboard": {"bytes": 7}}
    again.rewind("tensorboard")
    assert again.get_pending_records("tensorboard") == records
    again.close()


def test_what_another_consumer_may_need_again_is_kept(tmp_path):
    """Also by a process that serves MLflow alone."""
    path = tmp_path / "s"
    spool = opened(path, consumers=("wandb",))
    records = [spool.append("metrics", {"loss": 1.0}, step) for step in range(4)]
    spool.acknowledge(records[-1], "wandb")
    spool.close()
    spool = opened(path, consumers=("mlflow",))
    assert spool.get_pending_records() == records and spool.known_consumers == {"mlflow", "wandb"}
    spool.acknowledge(records[-1])
    spool.close()
    assert opened(path, consumers=("wandb",)).read_records() == records


def test_times_are_fixed_when_recorded(tmp_path):
    spool = opened(tmp_path / "s")
    said = spool.append("metrics", {"loss": 1.0}, step=1)
    spool.close()
    assert opened(tmp_path / "s").get_pending_records() == [said]


def test_two_writers_are_one_too_many(tmp_path):
    first = opened(tmp_path / "s")
    with pytest.raises(TrackingError, match="another process"):
        opened(tmp_path / "s")
    first.close()
    opened(tmp_path / "s").close()


def test_what_was_sent_is_forgotten_but_for_its_sum(tmp_path):
    path = tmp_path / "s"
    spool = opened(path)
    for step in range(1000):
        last = spool.append("metrics", {"loss": float(step)}, step)
    spool.attach_run("the run")
    spool.acknowledge(last)
    life = spool.header["life"]
    spool.close()
    assert path.stat().st_size < 500
    again = opened(path)
    assert (
        again.last_steps == {"loss": 999}
        and again.run_id == "the run"
        and not again.get_pending_records()
    )
    assert again.header["life"] == life
    again.append("metrics", {"loss": 1.0}, 1000)
    again.close()
    assert [record.step for record in opened(path).get_pending_records()] == [1000]


def test_a_line_that_a_full_disk_cut_is_passed_over(tmp_path):
    path = tmp_path / "s"
    spool = opened(path)
    spool.append("metrics", {"loss": 1.0}, 1)
    spool.close()
    with path.open("ab") as file:
        file.write(b'{"metrics": {"lo')
    again = opened(path)
    again.append("metrics", {"loss": 2.0}, 2)
    again.close()
    last = opened(path)
    assert [record.step for record in last.get_pending_records()] == [1, 2]
    last.acknowledge(last.get_pending_records()[0])
    last.close()
    assert [record.step for record in opened(path).get_pending_records()] == [2]


def test_a_run_that_is_gone_gets_everything_that_still_stands_there(tmp_path):
    spool = opened(tmp_path / "s")
    records = [spool.append("metrics", {"loss": 1.0}, step) for step in range(3)]
    spool.attach_run("the run")
    spool.acknowledge(records[1])
    spool.detach_run()
    assert spool.get_pending_records() == records and spool.run_id is None
    spool.close()
    assert opened(tmp_path / "s").get_pending_records() == records


def test_anew_drops_what_was_there(tmp_path):
    spool = opened(tmp_path / "s")
    spool.append("metrics", {"loss": 1.0}, 7)
    life = spool.header["life"]
    spool.close()
    again = opened(tmp_path / "s", overwrite=True)
    assert not again.get_pending_records() and not again.last_steps and again.header["life"] != life
