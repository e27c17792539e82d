"""The finals: retraining of selected configurations on new seeds.

The finals hold the best trials of the search, the untuned recipe as a baseline, and sanity runs.
Every ranked configuration is trained on all seeds of the finals, none of which the search has used.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kinesweep.core.scores import format_scores
from kinesweep.sweeps.journal.journal import Journal, Trial
from kinesweep.sweeps.search.ask_tell import MAX_DEATHS, RunEnd, RunRequest
from kinesweep.sweeps.search.pareto import find_pareto_front
from kinesweep.sweeps.space.arms import find_arms
from kinesweep.sweeps.space.parameter import Values, format_values
from kinesweep.sweeps.space.space import SearchSpace

UNTUNED = "untuned"
"""Name of the finalist that trains the recipe with the fixed values alone."""
NUM_RANKING_SEEDS = 2
"""Number of seeds that are trained even when the budget is used up; a ranking needs two."""


@dataclass(frozen=True)
class Finalist:
    """One configuration of the finals.

    Attributes:
        name: Display name, such as `trial 7`, `untuned` or `trained on zeros`.
        values: Values that override the recipe, fixed and swept ones.
        seeds: Seeds on which the configuration is trained.
        ranked: Whether it takes part in the ranking; sanity runs are only listed with it.
        level: Scientific levels in readable form; empty if the finalist is no trial, or without
            scientific parameters.
    """

    name: str
    values: Values
    seeds: tuple[int, ...]
    ranked: bool = True
    level: str = ""


def select_finalists(
    space: SearchSpace, base_values: Values, trials: Sequence[Trial]
) -> list[Finalist]:
    """Select the best trials, the best trial of each arm, the baseline and the sanity runs.

    Args:
        space: The search space.
        base_values: Flattened recipe values with fixed values, on which conditions may depend.
        trials: All trials of the search.

    Returns:
        Finalists: trials from best to worst, then the untuned recipe, then the sanity runs.
    """
    seeds, fixed = space.final_seeds, space.fixed_values
    finalists = []
    for trial in _select_trials(space, base_values, trials):
        level = format_values({n: v for n, v in trial.values.items() if _is_scientific(space, n)})
        values = {**fixed, **trial.values}
        finalists.append(Finalist(f"trial {trial.number}", values, seeds, level=level))
    # Without searched parameters there are no trials, and the untuned recipe is all there is.
    if space.baseline or not space.searched_parameters:
        finalists.append(Finalist(UNTUNED, fixed, seeds))
    for kind, name in (("zeros", "trained on zeros"), ("shuffled", "trained on shuffled pairs")):
        if kind in space.sanity_baselines and finalists:
            # Sanity runs train the best configuration on corrupted data. They are not ranked, so
            # one seed is enough.
            values = {**finalists[0].values, "batch.ablation": kind}
            finalists.append(Finalist(name, values, seeds[:1], ranked=False))
    return finalists


def sort_trials(space: SearchSpace, trials: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials, or else those with an evaluation, from best to worst.

    Duplicates are left out, and the earlier of two equal trials is first. With several objectives
    the Pareto front comes before all other trials, and both are sorted by the first objective. If
    no trial finished, which happens when the budget stops all of them, the trials with an
    evaluation that did not fail are returned instead, sorted by the samples they have seen and then
    by their loss.
    """
    originals = [t for t in trials if t.duplicate_of is None]
    finished = [t for t in originals if t.state == "finished"]
    if not finished:
        # A trial that failed is no candidate, however good it was before its loss diverged.
        reported = [t for t in originals if t.losses and t.state != "failed"]
        return sorted(reported, key=lambda t: (-max(t.losses), t.losses[max(t.losses)], t.number))
    objectives = space.objectives
    # The sign turns costs into scores, so that the front maximizes every coordinate.
    points = {t.number: [m.direction_sign * t.scores[m.name] for m in objectives] for t in finished}
    modes = ["max"] * len(objectives)
    front_numbers = {
        finished[i].number for i in find_pareto_front([points[t.number] for t in finished], modes)
    }
    single_objective = len(objectives) == 1
    return sorted(
        finished,
        key=lambda t: (
            not single_objective and t.number not in front_numbers,
            -points[t.number][0],
            t.number,
        ),
    )


def _select_trials(space: SearchSpace, base_values: Values, trials: Sequence[Trial]) -> list[Trial]:
    """Return the best `finalists.count` trials and the best trial of every arm, best first."""
    ranked = sort_trials(space, trials)
    selected = ranked[: space.finalists.count]
    # A level whose best trial is not among the best overall must not disappear from the answer.
    for arm in find_arms(space, base_values):
        arm_trials = [t for t in ranked if all(t.values.get(n) == v for n, v in arm.items())]
        selected += [t for t in arm_trials[:1] if t not in selected]
    # The best trial stays first: sanity runs take the values of the first finalist.
    return sorted(selected, key=ranked.index)


def _is_scientific(space: SearchSpace, name: str) -> bool:
    """Return whether a name is that of a scientific parameter of the space."""
    return name in space.parameters and space.parameters[name].role == "scientific"


@dataclass(frozen=True)
class FinalRun:
    """One run of the finals.

    Attributes:
        finalist: Configuration that the run trains.
        seed: Random seed of the run.
        name: Name of the run folder, `CONFIG-sSEED`.
    """

    finalist: Finalist
    seed: int
    name: str

    @property
    def key(self) -> str:
        """Unique name of the run within the policy."""
        return f"{self.finalist.name}, seed {self.seed}"


def list_final_runs(
    finalists: Sequence[Finalist], get_run_name: Callable[[Values, int], str]
) -> list[FinalRun]:
    """Return the runs of the finals: seed by seed over all ranked finalists, then the sanity runs.

    All ranked finalists can be compared after each seed. Sanity runs are needed only at the end.

    Args:
        finalists: Configurations of the finals.
        get_run_name: Function that maps values and seed to the name of a run folder.

    Returns:
        Runs in the order in which they should start; each run folder occurs once.
    """
    runs: dict[str, FinalRun] = {}
    for ranked in (True, False):
        group = [f for f in finalists if f.ranked is ranked]
        for seed_index in range(max((len(f.seeds) for f in group), default=0)):
            for finalist in group:
                # A slice, unlike an index, is empty for finalists that have fewer seeds.
                for seed in finalist.seeds[seed_index : seed_index + 1]:
                    name = get_run_name(finalist.values, seed)
                    # Two finalists may resolve to the same configuration, for example the untuned
                    # recipe and a trial. They share one run folder, so the run is listed once.
                    runs.setdefault(name, FinalRun(finalist, seed, name))
    return list(runs.values())


@dataclass
class FinalsPolicy:
    """The policy that runs the finals; implements `ask_tell.SweepPolicy`.

    Attributes:
        runs: Runs that are not finished yet.
        journal: Journal to which starts and ends are written.
        is_budget_exhausted: Function that returns whether the budget is used up.
        on_message: Function that receives progress messages, one line each.
        on_run_end: Callback after each run that finished or failed permanently.
        objectives: Names of the scores to show first in messages.
    """

    runs: Sequence[FinalRun]
    journal: Journal
    is_budget_exhausted: Callable[[], bool] = lambda: False
    on_message: Callable[[str], None] = lambda _: None
    on_run_end: Callable[[], None] = lambda: None
    objectives: Sequence[str] = ()
    _queue: deque[FinalRun] = field(init=False)
    _running: dict[str, FinalRun] = field(default_factory=dict)
    _deaths: dict[str, int] = field(default_factory=dict)
    _max_samples: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._queue = deque(self.runs)

    @property
    def is_finished(self) -> bool:
        """Return whether no final run is in progress or waiting."""
        return not self._queue and not self._running

    def propose(self) -> RunRequest | None:
        """Return a request for the next final run, or None if none is waiting.

        Once the budget is used up, runs that the ranking does not require are skipped.
        """
        # Checked before every start: a run in progress is never stopped by the budget.
        if self._queue and self.is_budget_exhausted():
            required_runs = [run for run in self._queue if self._is_required_for_ranking(run)]
            if len(required_runs) < len(self._queue):
                num_skipped = len(self._queue) - len(required_runs)
                self.journal.append_event("finals_cut", runs=num_skipped)
                self.on_message(f"the budget is used up: {num_skipped} final runs are skipped")
                self._queue = deque(required_runs)
        if not self._queue:
            return None
        run = self._queue.popleft()
        self._running[run.key] = run
        self.journal.append_event("run_started", run=run.name, finalist=run.finalist.name)
        phase = "finals" if run.finalist.ranked else "sanity"
        return RunRequest(run.key, run.finalist.values, run.seed, phase)

    def report_evaluation(self, key: str, evaluation: Mapping[str, float]) -> bool:
        """Record the progress of a run and return True, because final runs are never pruned."""
        # A retried run reports evaluations again that it had reached before; only evaluations
        # beyond these count as progress.
        if evaluation["samples"] > self._max_samples.get(key, -1):
            self._max_samples[key] = evaluation["samples"]
            self._deaths[key] = 0
        return True

    def tell(self, key: str, end: RunEnd) -> None:
        """Record the end of a final run; one that died or was stopped is retried.

        A run fails for good after `MAX_DEATHS` such ends without progress in between.
        """
        run = self._running.pop(key)
        event_fields = {"run": run.name, "finalist": run.finalist.name, "seconds": end.seconds}
        if end.state == "finished":
            scores = dict(end.scores)
            self.journal.append_event("run_finished", **event_fields, scores=scores)
            self.on_message(f"{key}: {format_scores(scores, self.objectives)}")
            self.on_run_end()
            return
        self._deaths[key] = self._deaths.get(key, 0) + 1
        # The finals prune nothing: `pruned` means that the trial ended without a result.
        should_retry = end.state in ("died", "pruned") and self._deaths[key] < MAX_DEATHS
        self.journal.append_event(
            "run_died" if should_retry else "run_failed", **event_fields, reason=end.reason
        )
        self.on_message(
            f"{key}: {'died and will be retried' if should_retry else 'failed'} ({end.reason})"
        )
        if should_retry:
            self._queue.append(run)
        else:
            self.on_run_end()

    def _is_required_for_ranking(self, run: FinalRun) -> bool:
        """Return whether the run trains a ranked finalist on one of its first two seeds."""
        return run.finalist.ranked and run.seed in run.finalist.seeds[:NUM_RANKING_SEEDS]
