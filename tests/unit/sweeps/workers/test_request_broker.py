"""The desk of a warm slot: who is believed, and who waits for whom."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kinesweep.sweeps.workers.request_broker import LEASE_S, RequestBroker
from kinesweep.sweeps.workers.slot_request import CLOSE, RequestResult

DONE = RequestResult("result", {"status": "finished"})


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def in_thread(ask: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Asks in the background."""
    said: list[Any] = []
    thread = threading.Thread(target=lambda: said.append(ask()), daemon=True)
    thread.start()
    return thread, said


def opened(ranks: int = 1, clock: Clock | None = None) -> tuple[RequestBroker, int]:
    """A desk whose workers have come."""
    desk = RequestBroker(ranks, clock=clock or Clock())
    group = desk.register_group()
    for rank in range(ranks):
        assert desk.take_request(group, rank, "", 0.0) is None
    return desk, group


def test_a_request_from_lease_to_outcome() -> None:
    desk, group = opened()
    assert desk.lease("a", "task")
    assert desk.take_request(group, 0, "") == ("a", "task")
    waiting, said = in_thread(lambda: desk.report_evaluation("a", {"step": 1.0}))
    assert desk.poll_next_report("a") == {"step": 1.0}
    assert waiting.is_alive()  # the trial has not said yet that it may go on
    assert desk.poll_next_report("a", 0.0) is None
    waiting.join(5)
    assert said == [True]
    desk.submit_result("a", 0, DONE)
    assert desk.poll_next_report("a") == DONE


def test_one_request_at_a_time() -> None:
    desk, group = opened()
    assert desk.lease("a", "task")
    assert not desk.lease("b", "task")
    desk.take_request(group, 0, "")
    desk.submit_result("a", 0, DONE)
    assert not desk.lease("b", "task")  # the end was not told yet
    desk.poll_next_report("a")
    assert desk.lease("b", "other")
    assert desk.take_request(group, 0, "a") == ("b", "other")


def test_a_request_is_taken_once_by_each_rank() -> None:
    desk, group = opened(2)
    desk.lease("a", "task")
    assert desk.take_request(group, 0, "") == ("a", "task")
    assert desk.take_request(group, 0, "a", 0.0) is None
    assert desk.take_request(group, 1, "") == ("a", "task")


def test_it_ends_when_all_ranks_are_done_and_rank_0_has_the_word() -> None:
    desk, group = opened(2)
    desk.lease("a", "task")
    for rank in (0, 1):
        desk.take_request(group, rank, "")
    desk.submit_result("a", 1, RequestResult("failed", reason="by rank 1"))
    assert desk.poll_next_report("a", 0.0) is None
    desk.submit_result("a", 0, DONE)
    assert desk.poll_next_report("a") == DONE


def test_nothing_of_a_cancelled_run_is_believed() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    desk.cancel_request("a")
    assert desk.get_stop_reason("a") == "pruned"
    assert not desk.report_evaluation("a", {"step": 1.0})
    desk.submit_result("a", 0, DONE)
    assert desk.poll_next_report("a") == RequestResult("lost", reason="pruned")


def test_a_run_that_waits_for_its_answer_stops_when_it_is_cancelled() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    waiting, said = in_thread(lambda: desk.report_evaluation("a", {"step": 1.0}))
    assert desk.poll_next_report("a") == {"step": 1.0}
    desk.cancel_request("a")
    waiting.join(5)
    assert said == [False]


def test_the_slot_is_not_free_before_a_cancelled_run_has_left_it() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    desk.cancel_request("a")
    assert not desk.lease("b", "task")
    desk.submit_result("a", 0, DONE)
    assert desk.lease("b", "task")
    desk.submit_result("a", 0, DONE)  # late, and of another request
    assert desk.poll_next_report("b", 0.0) is None


def test_a_request_cancelled_before_it_was_taken_is_never_trained() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.cancel_request("a")
    assert desk.take_request(group, 0, "", 0.0) is None
    assert desk.lease("b", "task")


def test_ranks_are_handed_what_one_of_them_has_taken_even_when_cancelled() -> None:
    desk, group = opened(2)
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    desk.cancel_request("a")
    assert desk.take_request(group, 1, "") == ("a", "task")


def test_a_trial_that_is_silent_loses_its_request() -> None:
    clock = Clock()
    desk, group = opened(clock=clock)
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    clock.now = LEASE_S - 1
    desk.renew_lease("a")
    clock.now += LEASE_S - 1
    assert desk.get_stop_reason("a") == ""
    clock.now += 2
    assert desk.get_stop_reason("a") == "expired"
    desk.renew_lease("a")  # too late
    assert desk.get_stop_reason("a") == "expired"
    desk.submit_result("a", 0, DONE)
    assert desk.lease("b", "task")


@pytest.mark.parametrize("taken", [True, False])
def test_a_request_is_lost_with_its_workers(taken: bool) -> None:
    desk, group = opened()
    desk.lease("a", "task")
    if taken:
        desk.take_request(group, 0, "")
    assert desk.end_group(group, "killed")
    assert desk.poll_next_report("a") == RequestResult("lost", reason="killed")


def test_what_a_run_raises_fails_it_and_sends_its_workers_away() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    desk.fail_request("a", "RuntimeError: no")
    assert desk.end_group(group, "its workers died"), "they had come to work"
    assert desk.poll_next_report("a") == RequestResult("failed", reason="RuntimeError: no")
    assert not desk.lease("b", "task")  # nobody is there to train it
    desk.fail_request("b", "said of nothing")
    assert desk.poll_next_report("a") == RequestResult("failed", reason="RuntimeError: no")


def test_nothing_is_leased_before_all_workers_have_come() -> None:
    desk = RequestBroker(2)
    group = desk.register_group()
    assert not desk.lease("a", "task")
    desk.take_request(group, 0, "", 0.0)
    assert not desk.lease("a", "task")
    assert not desk.end_group(group, "they never came")
    group = desk.register_group()
    for rank in (0, 1):
        desk.take_request(group, rank, "", 0.0)
    assert desk.lease("a", "task")


def test_workers_of_an_old_group_are_sent_away() -> None:
    desk, old = opened()
    new = desk.register_group()
    assert desk.take_request(old, 0, "") == CLOSE
    assert not desk.lease("a", "task")
    desk.take_request(new, 0, "", 0.0)
    desk.lease("a", "task")
    assert desk.take_request(new, 0, "") == ("a", "task")
    desk.end_group(old, "late word of the old one")
    assert desk.poll_next_report("a", 0.0) is None


def test_a_desk_that_knows_nothing_says_lost() -> None:
    desk = RequestBroker(1)
    assert desk.poll_next_report("a") == RequestResult("lost", reason="its slot was lost")
    assert desk.get_stop_reason("a") == "expired"
    assert not desk.report_evaluation("a", {})


def test_closing_sends_everyone_away() -> None:
    desk, group = opened()
    desk.lease("a", "task")
    desk.take_request(group, 0, "")
    desk.close()
    assert desk.get_stop_reason("a") == "closed"
    assert desk.take_request(group, 0, "a") == CLOSE
    assert not desk.lease("b", "task")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_each_result_reaches_its_own_request(seed: int) -> None:
    """Trials, workers and kills at random: every answer that a trial accepts is its own run's."""
    import random

    rng = random.Random(seed)
    clock = Clock()
    desk, group = opened(clock=clock)
    seen, trained = "", []
    holder = None
    for number in range(200):
        clock.now += 1.0
        act = rng.choice(["lease", "take", "answer", "cancel", "group", "poll", "silence"])
        if act == "lease" and desk.lease(f"t{number}", f"t{number}"):
            holder = f"t{number}"
        elif act == "take":
            taken = desk.take_request(group, 0, seen, 0.0)
            if isinstance(taken, tuple):
                assert taken[0] not in trained, "trained twice"
                seen = taken[1]
                trained.append(seen)
        elif act == "answer" and seen:
            desk.submit_result(seen, 0, RequestResult("result", {"of": seen}))
        elif act == "cancel" and holder:
            desk.cancel_request(holder)
        elif act == "group":
            desk.end_group(group, "killed")
            group, seen = desk.register_group(), ""
            desk.take_request(group, 0, seen, 0.0)
        elif act == "silence":
            clock.now += LEASE_S
        elif holder:
            said = desk.poll_next_report(holder, 0.0)
            if isinstance(said, RequestResult) and said.kind == "result":
                assert said.value["of"] == holder
