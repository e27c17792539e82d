"""Execution of a sweep from the search to the ranking of the finals.

Every step first checks the journal and the run folders, so the same call resumes a sweep after a
crash. Runs are in `runs/CONFIG-sSEED` and resume from their own checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.config.any_recipe import AnyRecipe
from kinesweep.core.errors import TrainingError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.core.paths import compute_directory_size
from kinesweep.sweeps.feature_stores import FeatureStores
from kinesweep.sweeps.job_factory import JobFactory, RunLoggerFactory
from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.run_folders import RUNS, format_run_name
from kinesweep.sweeps.journal.sweep_metadata import SweepMetadata, write_sweep_metadata
from kinesweep.sweeps.policy_runner import MessageCallback, PolicyRunner, RunnerFactory
from kinesweep.sweeps.results.failures import explain_failed_finals, explain_missing_finalists
from kinesweep.sweeps.results.rounds import ProvisionalRankingPublisher, publish_search_ranking
from kinesweep.sweeps.results.scorer import Scorer
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome, summarize_sweep
from kinesweep.sweeps.run_kinds import (
    build_scorer,
    build_training_resolver,
    count_samples_per_eval,
)
from kinesweep.sweeps.run_storage import (
    check_disk_space,
    compute_model_bytes,
    remove_search_weights,
)
from kinesweep.sweeps.search.budget import Budget, ResourceUsage
from kinesweep.sweeps.search.extensions import extend_space
from kinesweep.sweeps.search.finals import (
    NUM_RANKING_SEEDS,
    Finalist,
    FinalsPolicy,
    list_final_runs,
    select_finalists,
)
from kinesweep.sweeps.search.search import SearchContext, SearchPolicy
from kinesweep.sweeps.space.loading import apply_overrides, compute_base_values
from kinesweep.sweeps.space.parameter import Values
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study.follower import follow_journal
from kinesweep.sweeps.workers import tune_runner
from kinesweep.training.run_records.result import RunResult, read_finished_result


@dataclass(frozen=True)
class Sweep:
    """The definition of a sweep and the parts that execute it.

    Attributes:
        space: The search space.
        recipe: Recipe that the sweep tunes.
        stores: Feature stores.
        folder: Folder of the sweep.
        open_log: Function that opens the run logger of a run.
        on_message: Function that receives progress messages, one line each.
        open_runner: Function that opens the executor of policies; replaced in tests.
    """

    space: SearchSpace
    recipe: AnyRecipe
    stores: FeatureStores
    folder: Path
    open_log: RunLoggerFactory
    on_message: MessageCallback
    open_runner: RunnerFactory = tune_runner.TuneRunner

    @property
    def identity(self) -> str:
        """Hash of the settings that must stay equal to resume the sweep, and of its features.

        These are the recipe and the space, apart from its budget and number of trials.
        """
        # The path of the recipe may change as well, since the recipe itself is part of the hash.
        space_settings = self.space.model_dump(
            mode="json",
            exclude={"recipe": True, "budget": True, "search": {"trials"}, "study_storage": True},
        )
        if self.space.pruner.mode is None:
            # Identities from before the key existed stay valid.
            del space_settings["pruner"]["mode"]
        identity_fields: dict[str, Any] = {
            "space": space_settings,
            "recipe": self.compute_config_hash(self.recipe),
        }
        # The fingerprint of a single store is already part of the recipe's hash.
        if len(self.stores.by_settings) > 1:
            identity_fields["stores"] = self.stores.fingerprints
        return compute_fingerprint(identity_fields)

    @property
    def job_factory(self) -> JobFactory:
        """Factory of the training jobs of this sweep."""
        return JobFactory(self.recipe, self.stores, self.folder, self.open_log)

    def compute_config_hash(self, recipe: AnyRecipe) -> str:
        """Return the hash of a recipe's configuration without its seed, and of its features.

        Raises:
            KeyError: If the sweep has no store with the recipe's feature settings.
        """
        return recipe.compute_config_hash(self.stores.get_store(recipe.features).fingerprint)

    def build_scorer(self) -> Scorer:
        """Build the scorer by which the finals are compared.

        Raises:
            InputError: If texts in several scripts need a setting that `evaluation` lacks.
        """
        return build_scorer(self.space.objectives[0].name, self.recipe, self.stores.base)

    def get_run_folder(self, values: Values, seed: int) -> Path:
        """Return the folder of the run with the given values and seed, whether or not it exists.

        Args:
            values: Values that override the recipe, fixed and swept ones.
            seed: Random seed of the run.
        """
        config_hash = self.compute_config_hash(apply_overrides(self.recipe, values))
        return self.folder / RUNS / format_run_name(config_hash, seed)


def run_sweep(sweep: Sweep, extra_trials: int = 0) -> SweepOutcome:
    """Run or resume the search, the finals and the ranking of a sweep, and return its outcome.

    The models of the search runs are removed at the end. The caller writes the outcome to a file.

    Args:
        sweep: Sweep to run.
        extra_trials: Number of trials to add to those of the space and of earlier extensions.

    Raises:
        CheckpointError: If the folder holds another sweep or Ray Tune stopped early.
        ResourceError: If a run does not fit in the cluster, its files do not fit on disk, or a full
            grid is to be extended.
        TrainingError: If no configuration can take part in the finals, or if none of them finishes
            on two seeds.
    """
    with sweep.open_runner(sweep.space.resources, sweep.folder / "tune") as runner:
        # Opened after the runner: a run that cannot fit in the cluster leaves no journal behind.
        journal = Journal(sweep.folder)
        try:
            return _run_all(sweep, journal, runner, extra_trials)
        finally:
            journal.close()


def _run_all(
    sweep: Sweep, journal: Journal, runner: PolicyRunner, extra_trials: int
) -> SweepOutcome:
    """Write `sweep.json`, run or resume all steps of a sweep, and return the outcome."""
    # First, because texts in several scripts need a setting; each trial would fail with that error.
    scorer = sweep.build_scorer()
    if journal.start_session(sweep.identity, sweep.space.question):
        sweep.on_message(f"resuming the sweep in {sweep.folder}")
    # Written before the search, so that the table of a sweep in progress can be built.
    metadata = SweepMetadata(sweep.space, sweep.recipe, sweep.stores.base.folder)
    write_sweep_metadata(sweep.folder, metadata)
    with follow_journal(journal, sweep.space, sweep.folder):
        return _run_steps(sweep, journal, runner, extra_trials, scorer)


def _run_steps(
    sweep: Sweep, journal: Journal, runner: PolicyRunner, extra_trials: int, scorer: Scorer
) -> SweepOutcome:
    """Run or resume search, finals and ranking of a sweep, and return the outcome."""
    _run_search(sweep, journal, runner, extra_trials)
    finalists = select_finalists(
        sweep.space, compute_base_values(sweep.space, sweep.recipe), journal.trials
    )
    if not any(finalist.ranked for finalist in finalists):
        raise TrainingError(explain_missing_finalists(journal.trials))
    results = _run_finals(sweep, journal, runner, finalists)
    if not any(f.ranked and len(results[f.name]) >= NUM_RANKING_SEEDS for f in finalists):
        raise TrainingError(explain_failed_finals(journal))
    outcome = summarize_sweep(sweep.space, finalists, results, journal, scorer)
    journal.append_event("ranked", winner=outcome.winner)
    # Weights are removed only after the ranking is on record; a crash here repeats this step.
    remove_search_weights(sweep.folder, journal.trials, sweep.space.search.seed)
    return outcome


def record_test_scores(folder: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Record test scores in the journal of a sweep; do nothing if there are none.

    Args:
        folder: Folder of the sweep.
        scores: Seed → metric → test score of the winner.
    """
    if scores:
        journal = Journal(folder)
        journal.append_event("tested", scores=scores)
        journal.close()


def _run_search(sweep: Sweep, journal: Journal, runner: PolicyRunner, extra_trials: int) -> None:
    """Extend the space as recorded and requested, and run or resume its search."""
    space = extend_space(sweep.space, journal, extra_trials)
    journal.append_event(
        "search_started", trials=space.search.trials, sign=space.objectives[0].direction_sign
    )
    num_finalists = space.finalists.count + space.baseline
    budget = Budget(
        space.budget, space.resources, runner.num_slots, num_finalists * len(space.final_seeds)
    )
    num_workers = space.resources.workers
    resolve_training = build_training_resolver(
        lambda recipe: sweep.stores.get_store(recipe.features), num_workers
    )
    training = resolve_training(sweep.recipe)
    context = SearchContext(
        recipe=sweep.recipe,
        compute_config_hash=sweep.compute_config_hash,
        samples_per_eval=count_samples_per_eval(
            sweep.recipe, training, sweep.stores.base, num_workers
        ),
        budget=budget,
        resolve_training=resolve_training,
        compute_disk_bytes=lambda: compute_directory_size(sweep.folder / RUNS),
        compute_model_bytes=lambda: compute_model_bytes(sweep.folder),
        on_message=sweep.on_message,
        on_trial_end=lambda: publish_search_ranking(space, journal, sweep.folder, sweep.on_message),
    )
    runner.run_policy(SearchPolicy(space, context, journal), sweep.job_factory)


def _run_finals(
    sweep: Sweep,
    journal: Journal,
    runner: PolicyRunner,
    finalists: Sequence[Finalist],
) -> dict[str, list[RunResult]]:
    """Run or resume the finals and return the results of all finished runs by finalist.

    Provisional rankings are published meanwhile.

    Raises:
        ResourceError: If the models of the missing runs would exceed `checkpoints.max_disk`.
    """
    runs = list_final_runs(finalists, lambda values, seed: sweep.get_run_folder(values, seed).name)
    missing_runs = [
        run for run in runs if read_finished_result(sweep.folder / RUNS / run.name) is None
    ]
    check_disk_space(sweep.folder, len(missing_runs), sweep.recipe.checkpoints)
    publisher = _build_publisher(sweep, journal, finalists)
    if missing_runs:
        publisher.publish_if_round_complete()
    sweep.on_message(f"finals: {len(runs)} runs, {len(runs) - len(missing_runs)} already finished")
    journal.append_event("finals_started", runs=len(runs), missing=len(missing_runs))
    # Nothing needs to be reserved any more, hence 0 final runs.
    budget = Budget(sweep.space.budget, sweep.space.resources, runner.num_slots, 0)

    def is_exhausted() -> bool:
        return budget.is_exhausted(
            ResourceUsage(journal.get_worked_hours(), journal.sum_run_seconds() / 3600, 0, 0)
        )

    objectives = [metric.name for metric in sweep.space.objectives]
    policy = FinalsPolicy(
        missing_runs,
        journal,
        is_exhausted,
        sweep.on_message,
        publisher.publish_if_round_complete,
        objectives,
    )
    runner.run_policy(policy, sweep.job_factory)
    # Read from the run folders, so that runs of earlier sessions are included.
    return {
        finalist.name: [
            result
            for seed in finalist.seeds
            if (result := read_finished_result(sweep.get_run_folder(finalist.values, seed)))
            is not None
        ]
        for finalist in finalists
    }


def _build_publisher(
    sweep: Sweep, journal: Journal, finalists: Sequence[Finalist]
) -> ProvisionalRankingPublisher:
    """Build the publisher of a sweep's provisional rankings during the finals."""
    return ProvisionalRankingPublisher(
        space=sweep.space,
        build_scorer=sweep.build_scorer,
        folder=sweep.folder,
        journal=journal,
        finalists=finalists,
        get_run_folder=sweep.get_run_folder,
        on_message=sweep.on_message,
    )
