"""An arm that fixes every parameter has one configuration, which is tried once."""

from pathlib import Path
from typing import Any

import pytest

from kinesweep.sweeps.planning.simulation import simulate_policy
from spaces import LAYERS, course, load, search, virtual

ARMS: dict[str, Any] = {LAYERS: {"role": "scientific", "choices": [1, 2]}}


@pytest.mark.parametrize("kind", ["random", "tpe", "cmaes", "nsga2"])
@pytest.mark.parametrize("slots", [1, 2, 4])
def test_two_arms_without_other_parameters_are_two_trials(
    tmp_path: Path, kind: str, slots: int
) -> None:
    """While a trial runs, its result is unknown: it must not be proposed as its own duplicate."""
    space, recipe = load(tmp_path, search={"kind": kind, "trials": 4}, parameters=ARMS)
    journal, clock = virtual()
    simulate_policy(search(space, recipe, journal), lambda _: course(5.0), slots, clock)
    originals = [trial for trial in journal.trials if trial.duplicate_of is None]
    assert [trial.values[LAYERS] for trial in originals] == [1, 2]
    # Fixed designs list a level again; a sampler has nothing else to list.
    assert len(journal.trials) <= 4


@pytest.mark.parametrize("ended", [0, 1, 2])
def test_a_resumed_search_does_not_propose_them_again(tmp_path: Path, ended: int) -> None:
    space, recipe = load(tmp_path, search={"kind": "tpe", "trials": 4}, parameters=ARMS)
    journal, clock = virtual()
    policy = search(space, recipe, journal)
    requests = [policy.propose(), policy.propose()]
    for request in requests[:ended]:
        assert request is not None
        policy.tell(request.key, course(5.0).end)
    resumed = search(space, recipe, journal)
    simulate_policy(resumed, lambda _: course(5.0), 2, clock)
    assert [trial.state for trial in journal.trials] == ["finished"] * 2
