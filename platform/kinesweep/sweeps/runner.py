"""Drives an agenda on Ray Tune, in warm slots: search and finals alike.

Tune places the trials and ends those that are told to; what is tried, who goes on and what an end
means is the agenda's business. The runs in flight are bounded by what the cluster holds, computed
before the first one starts: a driver that waits for workers which can never be placed would wait
for ever. A trial's driver asks for one byte of memory, since Tune refuses a request for nothing
and a fraction of a core breaks packing.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from kinesweep.core.errors import CheckpointError
from kinesweep.core.recipe import Recipe
from kinesweep.core.recipe.training import ResourcesConfig
from kinesweep.core.runlog import NullRunLog, RunLog
from kinesweep.sweeps.agenda import Agenda, End, Proposal
from kinesweep.sweeps.packing import slots
from kinesweep.sweeps.pool import Pool, pack_task
from kinesweep.sweeps.trial import WarmTrial, judged
from kinesweep.training.result import RunSpec
from kinesweep.training.task import Task

OpenLog = Callable[[], RunLog]


@dataclass(frozen=True)
class Job:
    """One run to be trained.

    Attributes:
        recipe: the configuration, its seed included.
        store: folder of the features.
        folder: the run's own.
        full_decoding: as the finals want it.
        open_log: picklable; called by the run's first worker.
        sweep: whose run it is, or empty.
    """

    recipe: Recipe
    store: Path
    folder: Path
    full_decoding: bool
    open_log: OpenLog = NullRunLog
    sweep: str = ""

    def task(self) -> Task:
        """The same for workers."""
        spec = RunSpec(self.recipe, self.store, self.folder, full_decoding=self.full_decoding)
        return Task.of(spec, self.open_log, self.sweep)


MakeJob = Callable[[Proposal], Job]


def live_nodes() -> list[dict[str, float]]:
    """Resources of each node of the running cluster, `{"CPU": …, "GPU": …}`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


class Runner:
    """Drives agendas, one after the other, in the same warm slots; a context manager.

    Args:
        resources: of one run.
        scratch: for Tune's and Train's own files.

    Attributes:
        slots: runs at a time.

    Raises:
        ResourceError: not even one run fits in the cluster.
    """

    def __init__(self, resources: ResourcesConfig, scratch: Path) -> None:
        self._resources, self._scratch = resources, scratch
        self.slots = slots(resources, live_nodes())
        self._pool: Pool | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def drive(self, agenda: Agenda, make_job: MakeJob) -> None:
        """Runs an agenda to its end.

        Args:
            agenda: what is to be run; told everything, in this process.
            make_job: Function that turns a proposal into a run; called in this process.
        """
        if agenda.over:
            return
        if self._pool is None:
            self._pool = Pool(self._resources, self.slots, self._scratch)
        gate, client = self._pool.gate(), self._pool.client
        trial = tune.with_parameters(WarmTrial, client=client, gate=gate)

        def configure(proposal: Proposal) -> dict[str, Any]:
            return {"task": pack_task(make_job(proposal).task())}

        tune_agenda(agenda, trial, configure, self._pool.size, self._scratch, gate.open)


Configure = Callable[[Proposal], dict[str, Any]]
"""Turns a proposal into the configuration of a `tune.Trainable`."""


def tune_agenda(
    agenda: Agenda,
    trial: Any,
    configure: Configure,
    size: int,
    scratch: Path,
    all_started: Callable[[], None] = lambda: None,
) -> None:
    """Runs an agenda with a trainable.

    Args:
        agenda: what is to be run.
        trial: A `tune.Trainable`.
        configure: Function that turns a proposal into its configuration.
        size: trials at a time.
        scratch: for Tune's own files.
        all_started: called once the trials that were begun with have their actors.
    """
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # Its own handler ends the search as if all had been tried, and finals would follow.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    # Tune writes the state of all its trials again and again; the journal holds what we need.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
    # The box that it prints otherwise says only that there are endless trials.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # It misses, trial by trial, the result files that we turned off; why a trial died we say.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    ends = _Ends(agenda, all_started)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 0, "memory": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            reuse_actors=True,
            # Beside a searcher Tune ignores its own bound and runs one trial at a time.
            search_alg=ConcurrencyLimiter(_Searcher(ends, configure), size),
            scheduler=_Scheduler(ends),
        ),
        run_config=tune.RunConfig(
            storage_path=str(scratch),
            verbose=0,
            log_to_file=False,
            callbacks=[_Starts(ends)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    with ends.interrupts():
        tuner.fit()
    if not agenda.over:
        raise CheckpointError("Ray Tune stopped before all was tried; the same command goes on")


class _Ends:
    """Agenda and trials of Tune: who is who, and since when."""

    def __init__(self, agenda: Agenda, all_started: Callable[[], None]) -> None:
        self.agenda = agenda
        self._all_started: Callable[[], None] | None = all_started
        self._starting: set[str] = set()
        self.keys: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self._interrupted = False
        self._began: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher for its own files; a copy has no agenda.
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Ends":
        return self

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Remembers Ctrl-C: one that comes in a callback of Ray's may be swallowed there."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def remember(number: int, frame: Any) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check_interrupt(self) -> None:
        """Raises one that was swallowed."""
        if self._interrupted:
            raise KeyboardInterrupt

    def start(self, trial_id: str, proposal: Proposal) -> None:
        self.keys[trial_id] = proposal.key
        self._began[trial_id] = time.monotonic()
        self._starting.add(trial_id)

    def started(self, trial_id: str) -> None:
        """Its actor is there, or will never be."""
        self._starting.discard(trial_id)
        if not self._starting and self._all_started is not None:
            self._all_started()
            self._all_started = None

    def end(self, trial_id: str, end: End) -> None:
        self.started(trial_id)
        seconds = time.monotonic() - self._began.pop(trial_id)
        ended = End(end.state, end.scores, end.reason, round(seconds, 3))
        self.agenda.end(self.keys.pop(trial_id), ended)


class _Searcher(Searcher):
    """Hands the agenda's proposals to Tune and Tune's ends to the agenda."""

    def __init__(self, ends: _Ends, configure: Configure) -> None:
        super().__init__(metric="training_iteration", mode="max")  # in every result
        self._ends, self._configure = ends, configure

    def suggest(self, trial_id: str) -> Any:
        self._ends.check_interrupt()
        proposal = self._ends.agenda.propose()
        if proposal is None:
            return Searcher.FINISHED if self._ends.agenda.over else None
        self._ends.start(trial_id, proposal)
        return self._configure(proposal)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._ends.keys:
            reason = self._ends.errors.pop(trial_id, "")
            self._ends.end(trial_id, judged(result, error, reason))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the journal holds all there is to go on from."""


class _Starts(tune.Callback):
    """Tells who has an actor."""

    def __init__(self, ends: _Ends) -> None:
        self._ends = ends

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `tune.Callback`."""
        self._ends.started(trial.trial_id)


class _Scheduler(FIFOScheduler):
    """Passes reports on, and tells Tune what the agenda decides."""

    def __init__(self, ends: _Ends) -> None:
        super().__init__()
        self._ends = ends

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self._ends.check_interrupt()
        key = self._ends.keys.get(trial.trial_id)
        if key is None or result.get("ended") or "token_loss" not in result:
            return str(TrialScheduler.CONTINUE)
        goes_on = self._ends.agenda.report(key, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keeps the reason; the searcher is told of the end next, and not why."""
        # `trial.get_error` looks in the storage, where the file is not yet.
        file = Path(trial.error_file or "")
        lines = file.read_text().strip().splitlines() if file.is_file() else []
        self._ends.errors[trial.trial_id] = lines[-1].strip() if lines else ""
