"""Plan a sweep: extract features, measure a few pilot runs, simulate the sweep.

The pilot runs have a folder of their own below `plans` and are not recorded in MLflow.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kinesweep.config.any_recipe import get_corpus_recipe, require_translation
from kinesweep.core.paths import get_state_dir
from kinesweep.evaluation.metrics.preflight import check_metrics
from kinesweep.pipelines.extraction import extract_features
from kinesweep.store.format.reader import Store
from kinesweep.sweeps.feature_stores import extract_all_features
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.planning.cost_estimate import CostInputs, estimate_sweep_cost
from kinesweep.sweeps.planning.pilot_runs import measure_pilot_runs
from kinesweep.sweeps.planning.step_timer import StepTimerFactory
from kinesweep.sweeps.planning.sweep_plan import SweepPlan
from kinesweep.sweeps.run_kinds import build_training_resolver
from kinesweep.sweeps.search.budget import Budget
from kinesweep.sweeps.search.samples_per_eval import compute_samples_per_eval
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.space import FIXED_DESIGN_KINDS, SearchConfig, SearchSpace
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

    Logs what `extract_features` logs, the numbers of steps of the recipe, and the number and the
    duration of the pilot runs.

    Args:
        request: Sweep to plan.
        cluster: Resources of the cluster to plan for, `{"CPU": …, "GPU": …}`; None: the running
            cluster.
        seed_sd: Standard deviation of a final score between seeds.
        sentence_sd: Standard error of a difference between scores that comes from the choice of
            sentences.

    Raises:
        CheckpointError: If the recipe itself cannot be trained.
        ConfigError: If the search space or its recipe is invalid.
        KinesweepError: If `extract_features` raises it.
        InputError: If the recipe is one of pretraining.
        ResourceError: If a run does not fit into the cluster.
    """
    space, loaded_recipe = load_space(request.path, request.overrides, request.base)
    recipe = require_translation(loaded_recipe, "kinesweep plan")
    stores = extract_all_features(
        space, recipe, lambda tuned: extract_features(get_corpus_recipe(tuned))
    )
    store = stores.base
    # Otherwise every pilot run would fail with the same error.
    check_metrics(recipe.evaluation, store, set(store.splits) - {"train"})
    folder = get_state_dir() / "plans" / request.path.stem
    shutil.rmtree(folder, ignore_errors=True)
    resolve_training = build_training_resolver(
        lambda tuned: stores.get_store(tuned.features), space.resources.workers
    )
    training = resolve_training(recipe)
    logger.info(f"the recipe trains for {training.format_step_counts()}")
    context = SearchContext(
        recipe=recipe,
        compute_config_hash=lambda changed: changed.compute_config_hash(
            stores.get_store(changed.features).fingerprint
        ),
        samples_per_eval=compute_samples_per_eval(
            recipe.effective_batch, training, store, space.resources
        ),
        # One slot and no finals: this search only proposes points.
        budget=Budget(space.budget, space.resources, 1, 0),
        resolve_training=resolve_training,
    )
    # `Journal(None)` keeps its events in memory.
    search_policy = SearchPolicy(_replace_adaptive_sampler(space), context, Journal(None))
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
        _compute_test_to_validation_ratio(store),
        store.compute_disk_bytes(),
        resolve_training,
    )
    return estimate_sweep_cost(cost_inputs, nodes, seed_sd, sentence_sd)


def _replace_adaptive_sampler(space: SearchSpace) -> SearchSpace:
    """Return a search space whose sampler spreads points over the space without any results.

    Samplers that learn from results are replaced by quasi-random points; a space with grid, random
    or qmc search is returned unchanged.
    """
    if space.search.kind in FIXED_DESIGN_KINDS:
        return space
    search_config = SearchConfig(kind="qmc", trials=space.search.trials, seed=space.search.seed)
    return space.model_copy(update={"search": search_config})


def _compute_test_to_validation_ratio(store: Store) -> float:
    """Compute the number of test clips per validation clip; 0 without a test split."""
    num_test_clips = len(store.get_records("test")) if "test" in store.splits else 0
    return num_test_clips / max(1, len(store.get_records("validation")))
