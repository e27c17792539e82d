"""The table of a sweep in which two finalists have the same configuration."""

from pathlib import Path

from kinesweep.sweeps.journal.journal import Journal
from kinesweep.sweeps.journal.sweep_metadata import SweepMetadata, write_sweep_metadata
from kinesweep.sweeps.results.outcome_file import write_sweep_outcome
from kinesweep.sweeps.results.ranking import RankedConfiguration
from kinesweep.sweeps.results.sweep_outcome import SweepOutcome
from kinesweep.sweeps.results.table import build_sweep_table
from kinesweep.training.run_records.result import RunResult
from spaces import LAYERS, RATE, load


def ranked(name: str) -> RankedConfiguration:
    scores = {1: 4.0, 2: 6.0}
    return RankedConfiguration(name, 5.0, 3.0, 7.0, scores, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, True)


def test_finalists_that_share_their_runs_both_have_a_row(tmp_path: Path) -> None:
    space, recipe = load(tmp_path)
    folder = tmp_path / "sweep"
    folder.mkdir()
    write_sweep_metadata(folder, SweepMetadata(space, recipe, tmp_path / "store"))
    layers = recipe.model.backbone.scratch["encoder_layers"]
    own = {RATE: recipe.training.learning_rate, LAYERS: layers}
    journal = Journal(folder)
    journal.start_session("one", "?")
    journal.append_event("trial_created", trial=0, values=own, config="c")
    ended = {"state": "finished", "scores": {"bleu": 3.5}, "reason": "", "seconds": 2.0}
    journal.append_event("trial_ended", trial=0, **ended)
    for seed in (1, 2):
        run = folder / "runs" / f"c-s{seed}"
        run.mkdir(parents=True)
        RunResult("finished", "", 1, 1, 1, {}, {}, "0", 1.0, run, epochs=float(seed)).write()
        journal.append_event("run_finished", run=run.name, finalist="trial 0", scores={})
    journal.close()
    ranking = [ranked("trial 0"), ranked("untuned")]
    outcome = SweepOutcome(
        "?", "", "bleu", "trial 0", {}, ["c-s1"], ranking, {}, {}, [], {}, {}, []
    )
    write_sweep_outcome(folder, outcome)
    rows = build_sweep_table(folder).rows
    assert [(row.name, row.epochs, row.values) for row in rows] == [
        ("trial 0", 1.5, own),
        ("untuned", 1.5, own),
    ]
