"""The components through which Ray Tune asks a sweep policy: searcher, scheduler and callback.

They share a registry that maps Tune's trials to the requests of the policy. Tune calls all of them
in the driver's process, so the policy needs no lock.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.workers.tune_trainable import parse_run_end

BuildConfig = Callable[[RunRequest], dict[str, Any]]
"""Function that turns a request into the configuration of a `tune.Trainable`."""


class TrialRegistry:
    """A registry that maps Tune's trial ids to the keys of a policy's requests.

    Args:
        policy: Policy to which ends are told.
        on_all_started: Callback, called once when no registered trial is starting any more.

    Attributes:
        policy: Policy to which ends are told.
        keys: Trial id → key of the request, for trials that have not ended.
        errors: Trial id → last line of its error message, for trials that raised an error.
    """

    def __init__(self, policy: SweepPolicy, on_all_started: Callable[[], None]) -> None:
        self.policy = policy
        self._on_all_started: Callable[[], None] | None = on_all_started
        self._starting: set[str] = set()
        self.keys: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self._interrupted = False
        self._start_times: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune copies its searcher for its own files; a copy must not carry the policy.
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrialRegistry":
        return self

    @contextmanager
    def catch_interrupts(self) -> Iterator[None]:
        """Record Ctrl-C within the context and raise KeyboardInterrupt, which Ray may swallow.

        Outside the main thread, which alone receives signals, nothing is recorded.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handler = signal.getsignal(signal.SIGINT)

        def record_interrupt(signal_number: int, frame: Any) -> None:
            self._interrupted = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, record_interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous_handler)

    def raise_if_interrupted(self) -> None:
        """Raise `KeyboardInterrupt` if `catch_interrupts` has recorded Ctrl-C."""
        if self._interrupted:
            raise KeyboardInterrupt

    def register_trial(self, trial_id: str, request: RunRequest) -> None:
        """Register a request under Tune's trial id."""
        self.keys[trial_id] = request.key
        self._start_times[trial_id] = time.monotonic()
        self._starting.add(trial_id)

    def mark_started(self, trial_id: str) -> None:
        """Record that a trial has an actor or has ended, so that it is not starting any more.

        The first time that no trial is starting any more, `on_all_started` is called.
        """
        self._starting.discard(trial_id)
        # The start barrier opens once, when no trial of the first wave is starting any more.
        if not self._starting and self._on_all_started is not None:
            self._on_all_started()
            self._on_all_started = None

    def end_trial(self, trial_id: str, end: RunEnd) -> None:
        """Tell the policy the end of a trial with its duration, and remove the trial."""
        self.mark_started(trial_id)
        seconds = time.monotonic() - self._start_times.pop(trial_id)
        timed_end = RunEnd(end.state, end.scores, end.reason, round(seconds, 3))
        self.policy.tell(self.keys.pop(trial_id), timed_end)


class PolicySearcher(Searcher):
    """A Tune searcher that suggests the requests of a policy and tells it how trials ended."""

    def __init__(self, registry: TrialRegistry, build_config: BuildConfig) -> None:
        super().__init__(metric="training_iteration", mode="max")  # present in every result
        self._registry, self._build_config = registry, build_config

    def suggest(self, trial_id: str) -> Any:
        """Register the next request of the policy and return the configuration of its trial.

        Returns:
            The configuration; None to be asked again; or `FINISHED` after the last request.

        Raises:
            KeyboardInterrupt: If `TrialRegistry.catch_interrupts` has recorded Ctrl-C.
        """
        self._registry.raise_if_interrupted()
        request = self._registry.policy.propose()
        if request is None:
            return Searcher.FINISHED if self._registry.policy.is_finished else None
        self._registry.register_trial(trial_id, request)
        return self._build_config(request)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the policy how a trial ended, unless it was told already; see `tune.Searcher`."""
        if trial_id in self._registry.keys:
            reason = self._registry.errors.pop(trial_id, "")
            self._registry.end_trial(trial_id, parse_run_end(result, error, reason))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing, because a sweep resumes from the journal."""


class StartCallback(tune.Callback):
    """A Tune callback that records in the registry which trials have an actor."""

    def __init__(self, registry: TrialRegistry) -> None:
        self._registry = registry

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record that a trial has an actor; see `tune.Callback`."""
        self._registry.mark_started(trial.trial_id)


class PolicyScheduler(FIFOScheduler):
    """A Tune scheduler that reports evaluations to a policy and applies its decisions."""

    def __init__(self, registry: TrialRegistry) -> None:
        super().__init__()
        self._registry = registry

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Report an evaluation to the policy and return its decision, `CONTINUE` or `STOP`.

        Results that are not evaluations always continue.

        Raises:
            KeyboardInterrupt: If `TrialRegistry.catch_interrupts` has recorded Ctrl-C.
        """
        self._registry.raise_if_interrupted()
        key = self._registry.keys.get(trial.trial_id)
        if key is None or result.get("ended") or "samples" not in result:
            return str(TrialScheduler.CONTINUE)
        should_continue = self._registry.policy.report_evaluation(key, result)
        return str(TrialScheduler.CONTINUE if should_continue else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Record the last line of the error, because Tune does not pass it to the searcher."""
        # `trial.get_error` looks in the storage folder, where the file does not exist yet.
        error_path = Path(trial.error_file or "")
        error_lines = error_path.read_text().strip().splitlines() if error_path.is_file() else []
        self._registry.errors[trial.trial_id] = error_lines[-1].strip() if error_lines else ""
