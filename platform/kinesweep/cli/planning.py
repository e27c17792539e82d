"""A plan: features, a probe in a folder of its own, the simulation."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.cli.output import say
from kinesweep.cli.workflows import extract_features
from kinesweep.core.paths import bytes_below, state_home
from kinesweep.store.reader import Store
from kinesweep.sweeps import runner
from kinesweep.sweeps.budget import Budget
from kinesweep.sweeps.fidelity import evaluation_samples
from kinesweep.sweeps.journal import Journal
from kinesweep.sweeps.loading import load_space
from kinesweep.sweeps.plan import Facts, Plan, make_plan
from kinesweep.sweeps.probe import OpenClock, probe
from kinesweep.sweeps.search import Search, SearchFacts
from kinesweep.sweeps.space import LISTED
from kinesweep.sweeps.stores import extract_all
from kinesweep.sweeps.sweep import MakeJob


@dataclass(frozen=True)
class Order:
    """Which sweep is planned.

    Attributes:
        path: the search space.
        overrides: of the space, and under `recipe.` of its recipe.
        base: folder that the recipe's paths start at.
    """

    path: Path
    overrides: tuple[str, ...]
    base: Path


def plan_space(
    order: Order, cluster: Mapping[str, float] | None, seed_sd: float, sentence_sd: float
) -> Plan:
    """Extracts what is not extracted, probes on the running cluster, simulates.

    Args:
        order: what is planned.
        cluster: `{"CPU": …, "GPU": …}`; None: the running one.
        seed_sd: see `sweeps.plan.make_plan`.
        sentence_sd: likewise.

    Raises:
        ResourceError: a run does not fit in the cluster.
        CheckpointError: the recipe cannot be trained.
    """
    space, recipe = load_space(order.path, order.overrides, order.base)
    stores = extract_all(space, recipe, extract_features)
    store = stores.base
    folder = state_home() / "plans" / order.path.stem
    shutil.rmtree(folder, ignore_errors=True)
    listed = space.search.kind in LISTED
    spread = space.search if listed else space.search.model_copy(update={"kind": "qmc"})
    facts = SearchFacts(
        recipe=recipe,
        config_of=lambda changed: changed.config_hash(stores.of(changed).fingerprint),
        evaluation_samples=evaluation_samples(recipe, store, space.resources),
        budget=Budget(space.budget, space.resources, 1, 0),
    )
    points = Search(space.model_copy(update={"search": spread}), facts, Journal(None))
    make_job = MakeJob(recipe, stores, folder, OpenClock(folder / "clock"))
    probed = probe(space, make_job, points, runner.Runner)
    say(f"probed {len(probed.paces)} configurations in {probed.seconds:.0f} s")
    nodes = [cluster] if cluster else runner.live_nodes()
    known = Facts(
        space,
        recipe,
        probed,
        facts.evaluation_samples,
        _test_share(store),
        bytes_below(store.folder),
    )
    return make_plan(known, nodes, seed_sd, sentence_sd)


def _test_share(store: Store) -> float:
    """Test clips for each validation clip."""
    tests = len(store.records("test")) if "test" in store.splits else 0
    return tests / max(1, len(store.records("validation")))
