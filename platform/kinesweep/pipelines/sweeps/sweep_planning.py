"""Plan a sweep: extract features, measure a few pilot runs, simulate the sweep.

The pilot runs have a folder of their own below `plans` and are not recorded in MLflow.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.core.paths import compute_directory_size, get_state_dir
from kinesweep.pipelines.extraction import extract_features
from kinesweep.store.format.reader import Store
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.cost_estimate import CostInputs, SweepPlan, estimate_sweep_cost
from kinesweep.sweeps.planning.pilot_runs import StepTimerFactory, measure_pilot_runs
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.samples_per_eval import compute_samples_per_eval
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import FIXED_DESIGN_KINDS
from kinesweep.sweeps.sweep import JobFactory
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


def plan_sweep(
    request: PlanRequest, cluster: Mapping[str, float] | None, seed_sd: float, sentence_sd: float
) -> SweepPlan:
    """Extract missing features, measure pilot runs on the running cluster, and simulate the sweep.

    Args:
        request: Sweep to plan.
        cluster: Resources of the cluster to plan for, `{"CPU": …, "GPU": …}`; None: the running
            cluster.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a difference that comes from the choice of sentences.

    Raises:
        ResourceError: If a run does not fit into the cluster.
        CheckpointError: If the recipe itself cannot be trained.
    """
    space, recipe = load_space(request.path, request.overrides, request.base)
    stores = extract_all_features(space, recipe, extract_features)
    store = stores.base
    folder = get_state_dir() / "plans" / request.path.stem
    shutil.rmtree(folder, ignore_errors=True)
    # The pilot runs should be spread over the space, so samplers that learn from results are
    # replaced by quasi-random points; grid, random and qmc search keep their own points.
    is_listed = space.search.kind in FIXED_DESIGN_KINDS
    search_config = space.search if is_listed else space.search.model_copy(update={"kind": "qmc"})
    context = SearchContext(
        recipe=recipe,
        compute_config_hash=lambda changed: changed.compute_config_hash(
            stores.get_store(changed).fingerprint
        ),
        samples_per_eval=compute_samples_per_eval(recipe, store, space.resources),
        # One slot and no finals: this search only proposes points.
        budget=Budget(space.budget, space.resources, 1, 0),
    )
    # `Journal(None)` keeps its events in memory.
    search_policy = SearchPolicy(
        space.model_copy(update={"search": search_config}), context, Journal(None)
    )
    make_job = JobFactory(recipe, stores, folder, StepTimerFactory(folder / "clock"))
    pilot_result = measure_pilot_runs(space, make_job, search_policy, tune_runner.TuneRunner)
    logger.info(
        f"measured {len(pilot_result.timings)} configurations in {pilot_result.seconds:.0f} s"
    )
    nodes = [cluster] if cluster else tune_runner.get_live_nodes()
    cost_inputs = CostInputs(
        space,
        recipe,
        pilot_result,
        context.samples_per_eval,
        _compute_test_share(store),
        compute_directory_size(store.folder),
    )
    return estimate_sweep_cost(cost_inputs, nodes, seed_sd, sentence_sd)


def _compute_test_share(store: Store) -> float:
    """Compute the number of test clips per validation clip."""
    tests = len(store.get_records("test")) if "test" in store.splits else 0
    return tests / max(1, len(store.get_records("validation")))
