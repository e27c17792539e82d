"""Provisional rankings: when there is one, what it says, and what `status` shows of it.

No run is trained: a runner that is made up writes results and sentences of known quality.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.core.run_logger import NullRunLogger, RunLogger
from kinesweep.evaluation.predictions import Prediction, write_predictions
from kinesweep.evaluation.scoring import CorpusMetric
from kinesweep.sweeps.job_factory import JobFactory
from kinesweep.sweeps.journal.journal import RESULT, read_journal
from kinesweep.sweeps.journal.status import read_sweep_status
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.results.provisional import (
    PROVISIONAL_FILE,
    ProvisionalRanking,
    read_provisional_ranking,
)
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.search.ask_tell import RunEnd, RunRequest, SweepPolicy
from kinesweep.sweeps.sweep import Sweep, run_sweep
from kinesweep.training.run_records.result import RunResult
from sweeping import RATE, Here, Lab, make_lab

pytestmark = pytest.mark.integration

Quality = Callable[[RunRequest], float]


class KilledError(Exception):
    """Ends the driver, as a kill would."""


class Written(Here):
    """Writes each run's result instead of training it.

    Args:
        lab: has the sentences.
        quality: request → share of sentences that are right; negative: the run fails.
        runs: after which the driver is killed; None: never.
    """

    def __init__(self, lab: Lab, quality: Quality, runs: int | None = None) -> None:
        self.lab, self.quality, self.left = lab, quality, runs
        self.order: list[tuple[str, int]] = []

    def run_policy(self, policy: SweepPolicy, build_job: JobFactory) -> None:
        while not policy.is_finished:
            request = policy.propose()
            if request is None:
                return
            if self.left is not None:
                if self.left == 0:
                    raise KilledError
                self.left -= 1
            self.order.append((request.key, request.seed))
            policy.tell(request.key, self._run(request, build_job))

    def _run(self, request: RunRequest, make_job: JobFactory) -> RunEnd:
        share = self.quality(request)
        if share < 0:
            return RunEnd("failed", {}, "broken", 1.0)
        folder = make_job(request).folder
        (folder / "predictions").mkdir(parents=True)
        wanted = {r.clip.id: r.clip.texts for r in self.lab.store.get_records("validation")}
        right = round(share * len(wanted))
        said = {
            clip: texts[0] if n < right else "wrong"
            for n, (clip, texts) in enumerate(sorted(wanted.items()))
        }
        lines = [Prediction(clip, said[clip], wanted[clip]) for clip in sorted(said)]
        write_predictions(folder / "predictions" / "validation.tsv", lines)
        scores = {"bleu": CorpusMetric("bleu")(said, wanted)}
        result = RunResult("finished", "max_steps", 1, 1, 1, scores, scores, "0", 1.0, folder)
        result.write()
        return RunEnd("finished", result.objective_values, seconds=1.0)


def no_log(folder: Path, title: str, phase: str, params: Mapping[str, Any]) -> RunLogger:
    return NullRunLogger()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make_lab(tmp_path_factory.mktemp("lab"))


class Sweeping:
    """One sweep, called again and again."""

    def __init__(self, lab: Lab, folder: Path, quality: Quality, **changes: Any) -> None:
        self.lab, self.folder, self.quality, self.said = lab, folder, quality, list[str]()
        plain = {
            "search": {"kind": "random", "trials": 3, "seed": 0},
            "finalists": {"count": 2, "seeds": [1, 2, 3]},
            "sanity_baselines": ["constant", "zeros"],
        }
        self.space = lab.space(**{**plain, **changes})

    def __call__(self, runs: int | None = None, extend: int = 0) -> SweepOutcome | None:
        """Runs it, or so many runs of it."""
        runner = Written(self.lab, self.quality, runs)
        sweep = Sweep(
            self.space,
            self.lab.recipe,
            self.lab.stores,
            self.folder,
            no_log,
            self.said.append,
            lambda *_: runner,
        )
        try:
            return run_sweep(sweep, extend)
        except KilledError:
            return None
        finally:
            self.order = runner.order

    @property
    def made(self) -> ProvisionalRanking:
        found = read_provisional_ranking(self.folder)
        assert found is not None
        return found

    @property
    def heads(self) -> list[str]:
        """What rankings were told."""
        return [line for line in self.said if line.startswith("Provisional")]


def by_rate(request: RunRequest) -> float:
    """The higher the rate the better; the recipe as it is gets nothing right."""
    rate = float(str(request.values.get(RATE, 1e-4)))
    return 0.5 * math.log10(rate / 1e-4)


def by_seed(request: RunRequest) -> float:
    """All are equal, but for their seeds."""
    return {0: 0.5, 1: 0.6, 2: 0.4, 3: 0.7}[request.seed] + 0.1 * (RATE in request.values)


AFTER = ["2 of 3 trials", "the search", "1 of 3 seeds", "2 of 3 seeds", "3 of 3 seeds"]
HEADS = [f"Provisional ranking after {when} (validation bleu):" for when in AFTER]


def test_a_ranking_after_the_search_and_each_round(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    outcome = sweep()
    assert outcome is not None
    assert sweep.heads == HEADS
    names = [key.rpartition(", seed")[0] for key, seed in sweep.order[3:]]
    assert [seed for _, seed in sweep.order] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 1]
    assert names == [*names[:3] * 3, "trained on zeros"]
    last = sweep.made
    assert [s.name for s in last.standings] == [line.name for line in outcome.ranking]
    for standing, line in zip(last.standings, outcome.ranking, strict=True):
        assert (standing.score, standing.low, standing.scores) == (line.mean, line.low, line.scores)
    assert last.standings[0].tied is None
    assert [s.tied for s in last.standings[1:]] == [line.tied for line in outcome.ranking[1:]]
    write_sweep_outcome(sweep.folder, outcome)
    assert not (sweep.folder / PROVISIONAL_FILE).exists()


def test_after_the_search_nothing_is_tested(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    assert sweep(runs=3) is None
    made = sweep.made
    assert (made.stage, made.rounds, made.of, made.trials) == ("searched", 0, 3, 3)
    assert [s.score for s in made.standings] == sorted(
        (s.score for s in made.standings), reverse=True
    )
    assert len(made.standings) == 3 and all(set(s.scores) == {0} for s in made.standings)
    assert all(s.tied is s.p_value is s.gap_to_best is s.low is None for s in made.standings)
    assert (
        "differences are not tested" in made.format_lines()[-1]
        and "best of 3" in made.format_lines()[-1]
    )


def test_in_the_search_there_is_one_whenever_the_trials_doubled(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(
        lab, tmp_path / "s", by_rate, search={"kind": "random", "trials": 9, "seed": 0}
    )
    heads = [f"Provisional ranking after {n} of 9 trials (validation bleu):" for n in (2, 4, 8)]
    for ended in range(1, 9):
        assert sweep(runs=1) is None
        shown = read_sweep_status(sweep.folder).provisional
        if ended < 2:
            assert shown is None
            continue
        counted = max(n for n in (2, 4, 8) if n <= ended)
        assert sweep.heads[-1] == heads[(2, 4, 8).index(counted)]
        assert shown == sweep.made and shown.stage == "searching"
        assert shown.trials == len(shown.standings) == counted
        scores = [standing.score for standing in shown.standings]
        assert scores == sorted(scores, reverse=True)
    assert sweep.heads == heads


def test_the_same_lines_are_not_told_twice(lab: Lab, tmp_path: Path) -> None:
    """Where two more trials ended and none of them finished."""

    def quality(request: RunRequest) -> float:
        return 0.5 if request.key in ("trial 0", "trial 1") else -1.0

    sweep = Sweeping(
        lab, tmp_path / "s", quality, search={"kind": "random", "trials": 5, "seed": 0}
    )
    assert sweep(runs=4) is None
    assert sweep.heads == ["Provisional ranking after 2 of 5 trials (validation bleu):"]
    assert sweep.made.after == "4 of 5 trials"


def test_where_no_trial_has_finished_there_is_none(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", lambda _: -1.0)
    assert sweep(runs=2) is None
    assert sweep.heads == [] and read_sweep_status(sweep.folder).provisional is None


def test_one_seed_is_not_tested_and_two_are(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    sweep(runs=3 + 3)
    assert (sweep.made.stage, sweep.made.rounds) == ("finals", 1)
    assert all(s.tied is s.p_value is s.low is None for s in sweep.made.standings)
    assert not any("significant" in line for line in sweep.made.format_lines())
    sweep(runs=3)
    assert sweep.made.rounds == 2
    assert all(set(s.scores) == {1, 2} for s in sweep.made.standings)
    assert all(s.p_value is not None for s in sweep.made.standings[1:])


@pytest.mark.parametrize(("quality", "tied"), [(by_rate, False), (by_seed, True)])
def test_a_lead_is_significant_only_when_it_is(
    lab: Lab, tmp_path: Path, quality: Quality, tied: bool
) -> None:
    sweep = Sweeping(lab, tmp_path / "s", quality, finalists={"count": 1, "seeds": [1, 2, 3]})
    sweep(runs=3 + 4)
    best, other = sweep.made.standings
    assert best.score > other.score
    assert other.tied is tied
    shown = sweep.made.format_lines()[2]
    assert (", not significant (p" if tied else ", significant (p") in shown


@pytest.mark.parametrize("runs", [1, 2, 3])
def test_after_each_kill_the_same_rankings_each_told_once(
    lab: Lab, tmp_path: Path, runs: int
) -> None:
    whole, killed = Sweeping(lab, tmp_path / "a", by_rate), Sweeping(lab, tmp_path / "b", by_rate)
    assert whole() is not None
    while killed(runs=runs) is None:
        pass
    assert killed.heads == whole.heads == HEADS
    assert killed.made == whole.made


def test_a_round_is_whole_or_does_not_count(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    sweep(runs=3 + 5)
    assert sweep.made.rounds == 1
    assert all(set(s.scores) == {1} for s in sweep.made.standings)


def test_a_run_that_failed_is_not_waited_for(lab: Lab, tmp_path: Path) -> None:
    def quality(request: RunRequest) -> float:
        broken = request.seed == 2 and not request.values
        return -1.0 if broken else by_rate(request)

    sweep = Sweeping(lab, tmp_path / "s", quality)
    sweep(runs=3 + 6)
    assert sweep.made.rounds == 2
    *tested, last = sweep.made.standings
    assert [set(s.scores) for s in tested] == [{1, 2}, {1, 2}]
    assert (last.name, set(last.scores), last.tied) == ("untuned", {1}, None)


def test_further_trials_outdate_it(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    sweep(runs=3 + 3)
    assert read_sweep_status(sweep.folder).provisional == sweep.made
    sweep(runs=1, extend=2)
    assert sweep.made.after == "4 of 5 trials"
    assert read_sweep_status(sweep.folder).provisional == sweep.made
    before = len(sweep.said)
    sweep(runs=1)
    assert sweep.made.trials == 5
    assert read_sweep_status(sweep.folder).provisional == sweep.made
    assert sum(line.startswith("Provisional") for line in sweep.said[before:]) == 1


def test_without_a_search_there_is_none_until_a_round_is_whole(lab: Lab, tmp_path: Path) -> None:
    noise = {"training.seed": {"role": "noise", "choices": [1, 2]}}
    sweep = Sweeping(lab, tmp_path / "s", lambda _: 0.5, parameters=noise, sanity_baselines=[])
    sweep()
    assert [line.split(" (")[0] for line in sweep.heads] == [
        "Provisional ranking after 1 of 2 seeds",
        "Provisional ranking after 2 of 2 seeds",
    ]


def test_status_shows_it_until_there_is_a_result(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    sweep = Sweeping(lab, tmp_path / "sweeps" / "mine", by_rate)
    sweep(runs=3 + 3)
    shown = CliRunner().invoke(app, ["status", "mine", "--json"])
    assert shown.exit_code == 0, shown.output
    assert all(line in shown.output for line in sweep.made.format_lines())
    assert (
        '"provisional": {"stage": "finals", "after": "1 of 3 seeds", "metric": "bleu"'
        in shown.output
    )
    outcome = sweep()
    assert outcome is not None
    write_sweep_outcome(sweep.folder, outcome)
    assert read_journal(sweep.folder)[-1]["event"] == "ranked" and (sweep.folder / RESULT).exists()
    shown = CliRunner().invoke(app, ["status", "mine", "--json"])
    assert "Provisional" not in shown.output and '"provisional": null' in shown.output


def test_a_finished_sweep_called_again_tells_nothing(lab: Lab, tmp_path: Path) -> None:
    sweep = Sweeping(lab, tmp_path / "s", by_rate)
    outcome = sweep()
    assert outcome is not None
    write_sweep_outcome(sweep.folder, outcome)
    told = len(sweep.heads)
    assert sweep() == outcome
    assert len(sweep.heads) == told and not (sweep.folder / PROVISIONAL_FILE).exists()
