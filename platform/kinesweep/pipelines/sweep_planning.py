"""Plan a sweep: extract features, measure a few pilot runs, simulate the sweep.

The pilot runs have a folder of their own below `plans` and are not recorded in MLflow.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.paths import directory_size, state_home
from kinesweep.pipelines.extraction import extract_features
from kinesweep.store.format.reader import Store
from kinesweep.sweeps.feature_stores import extract_all
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.cost_estimate import CostInputs, Plan, make_plan
from kinesweep.sweeps.planning.pilot_runs import OpenClock, probe
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.samples_per_eval import evaluation_samples
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import LISTED
from kinesweep.sweeps.sweep import MakeJob
from kinesweep.sweeps.workers import tune_runner

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanRequest:
    """A request to plan a sweep.

    Attributes:
        path: File of the search space.
        overrides: Overrides of the space; those that begin with `recipe.` are for its recipe.
        base: Folder that relative paths in the recipe start from.
    """

    path: Path
    overrides: tuple[str, ...]
    base: Path


def plan_space(
    order: PlanRequest, cluster: Mapping[str, float] | None, seed_sd: float, sentence_sd: float
) -> Plan:
    """Extract missing features, measure pilot runs on the running cluster, and simulate the sweep.

    Args:
        order: Sweep to plan.
        cluster: Resources of the cluster to plan for, `{"CPU": …, "GPU": …}`; None: the running
            cluster.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a difference that comes from the choice of sentences.

    Raises:
        ResourceError: If a run does not fit into the cluster.
        CheckpointError: If the recipe itself cannot be trained.
    """
    space, recipe = load_space(order.path, order.overrides, order.base)
    stores = extract_all(space, recipe, extract_features)
    store = stores.base
    folder = state_home() / "plans" / order.path.stem
    shutil.rmtree(folder, ignore_errors=True)
    # The pilot runs should be spread over the space, so samplers that learn from results are
    # replaced by quasi-random points; grid, random and qmc search keep their own points.
    listed = space.search.kind in LISTED
    spread = space.search if listed else space.search.model_copy(update={"kind": "qmc"})
    facts = SearchContext(
        recipe=recipe,
        config_of=lambda changed: changed.config_hash(stores.of(changed).fingerprint),
        evaluation_samples=evaluation_samples(recipe, store, space.resources),
        # One slot and no finals: this search only proposes points.
        budget=Budget(space.budget, space.resources, 1, 0),
    )
    # `Journal(None)` keeps its events in memory.
    points = SearchPolicy(space.model_copy(update={"search": spread}), facts, Journal(None))
    make_job = MakeJob(recipe, stores, folder, OpenClock(folder / "clock"))
    probed = probe(space, make_job, points, tune_runner.Runner)
    logger.info(f"measured {len(probed.paces)} configurations in {probed.seconds:.0f} s")
    nodes = [cluster] if cluster else tune_runner.live_nodes()
    known = CostInputs(
        space,
        recipe,
        probed,
        facts.evaluation_samples,
        _test_share(store),
        directory_size(store.folder),
    )
    return make_plan(known, nodes, seed_sd, sentence_sd)


def _test_share(store: Store) -> float:
    """Return the number of test clips per validation clip."""
    tests = len(store.records("test")) if "test" in store.splits else 0
    return tests / max(1, len(store.records("validation")))
