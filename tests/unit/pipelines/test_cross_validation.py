"""Searches over folds: means of configurations, what may be searched, and what is continued."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import kinesweep as ks
from kinect import SKELETON, write_kinect_corpus
from kinesweep.cli import app
from kinesweep.core.errors import ConfigError, InputError, TrainingError
from kinesweep.pipelines.sweeps import cross_validation, fold_tables
from kinesweep.pipelines.sweeps.cross_validation import (
    cross_validate,
    dry_run_cross_validation,
    rank_configurations,
)
from kinesweep.pipelines.sweeps.fold_tables import FoldSettings, lock_folds
from kinesweep.pipelines.sweeps.sweep import SweepRequest, prepare_sweep_dir
from kinesweep.sweeps.journal.journal import Journal, Trial
from spaces import write


def trial(rate: float, score: float | None, number: int = 0) -> Trial:
    state: Any = "failed" if score is None else "finished"
    scores = {} if score is None else {"bleu": score}
    return Trial(number, {"training.learning_rate": rate}, "hash", state, scores)


def test_configurations_are_ranked_by_their_mean_over_folds() -> None:
    """The order of trials differs from fold to fold; gaps are paired over folds."""
    folds = [
        [trial(0.1, 10.0), trial(0.2, 40.0)],
        [trial(0.2, 20.0), trial(0.1, 5.0)],
        [trial(0.1, 90.0), trial(0.2, 96.0)],
    ]
    best, second = rank_configurations(folds, "bleu", 1)
    assert best.values == {"training.learning_rate": 0.2} and best.scores == (40, 20, 96)
    assert best.mean == 52 and best.gap_to_best == 0 and best.gap_interval is None
    assert second.mean == 35 and second.gap_to_best == -17
    # Gaps are -30, -15 and -6; Student's t for 2 degrees of freedom is 4.3027.
    half = 4.302652729911275 * np.std([-30, -15, -6], ddof=1) / np.sqrt(3)
    assert second.gap_interval == pytest.approx((-17 - half, -17 + half))
    assert rank_configurations(folds, "bleu", -1)[0].values == second.values


def test_a_configuration_that_failed_on_a_fold_has_no_mean() -> None:
    folds = [[trial(0.1, 99.0), trial(0.2, 1.0)], [trial(0.1, None), trial(0.2, 3.0)]]
    best, failed = rank_configurations(folds, "bleu", 1)
    assert best.mean == 2 and failed.scores == (99.0, None) and failed.mean is None
    assert rank_configurations([[], []], "bleu", 1) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "search.kind"),
        ({"search": {"kind": "random", "trials": 2}}, "pruner.kind"),
    ],
)
def test_only_a_fixed_list_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    path = write(tmp_path, changes)
    with pytest.raises(ConfigError, match=said):
        cross_validate(SweepRequest(path, (), "mine", tmp_path), FoldSettings("signer", 2))
    assert not (tmp_path / "home").exists()


def write_kinect_search(folder: Path) -> SweepRequest:
    """Writes the signs of four signers, and a grid over two learning rates."""
    write_kinect_corpus(folder / "data", words=2, signers=4, takes=1)
    search = {"kind": "grid"}
    choices = {"training.learning_rate": {"choices": [0.1, 0.2]}}
    path = write(folder, {"search": search, "pruner": {"kind": "none"}, "parameters": choices})
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["source"] = {"kind": "skeletons", "fps": 30, "skeleton": SKELETON}
    recipe["source"] |= {"train": "data/all.tsv", "motions": "data/motions"}
    recipe["features"] = {"kind": "skeleton"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return SweepRequest(path, (), "mine", folder)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/tmp"])
def test_a_name_is_that_of_a_folder(name: str) -> None:
    """`--overwrite` removes the folder, which must not be the one of all sweeps."""
    with pytest.raises(InputError, match="cannot be the name of a sweep"):
        SweepRequest(Path("space.yaml"), (), name, Path())


@pytest.mark.parametrize(
    ("by", "folds", "said"), [("word", 2, "`by` must be `signer` or"), ("signer", 1, "at least 2")]
)
def test_impossible_folds_are_refused(by: Any, folds: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        FoldSettings(by, folds)


def test_a_dry_run_makes_all_folds_and_runs_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    request = write_kinect_search(tmp_path)
    seen: list[SweepRequest] = []

    def dry_run(first: SweepRequest) -> tuple[Any, str]:
        seen.append(first)
        _, recipe = cross_validation.load_space(first.path, first.overrides, first.base)
        source: Any = recipe.source  # type: ignore[union-attr]
        assert Path(source.train).is_file() and Path(source.train).parent.name == "fold-0"
        assert (Path(source.train).parents[1] / "fold-1" / "validation.tsv").is_file()
        return "result", "1 min"

    monkeypatch.setattr(cross_validation, "dry_run_sweep", dry_run)
    result, estimate = dry_run_cross_validation(request, FoldSettings("signer", 2))
    assert (result, estimate) == ("result", "1 min; 2 folds take 2 times as long")
    assert seen[0].name == "mine" and not (tmp_path / "home").exists()
    with pytest.raises(InputError, match="5 folds need at least 5"):
        dry_run_cross_validation(request, FoldSettings("signer", 5))


class Sweeps:
    """Stands in for sweeps: keeps what is asked, and breaks off at one of them."""

    def __init__(self, breaks_at: int) -> None:
        self.requests: list[SweepRequest] = []
        self.breaks_at = breaks_at

    def __call__(self, request: SweepRequest, **_: bool) -> Any:
        self.requests.append(request)
        if len(self.requests) == self.breaks_at:
            raise KeyboardInterrupt
        raise InputError("enough")


def test_every_fold_has_signers_of_its_own_and_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home's [1]"
    monkeypatch.setenv("KINESWEEP_HOME", str(home))
    request = write_kinect_search(tmp_path)
    sweeps = Sweeps(breaks_at=1)
    monkeypatch.setattr(cross_validation, "run_requested_sweep", sweeps)
    settings = FoldSettings("signer", 2)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(request, settings)
    asked = sweeps.requests[0]
    assert asked.name == "mine-fold-0"
    _, seen = cross_validation.load_space(asked.path, asked.overrides, asked.base)
    source: Any = seen.source  # type: ignore[union-attr]
    signers = [
        {line.split("\t")[-1] for line in Path(table).read_text().splitlines()[1:]}
        for table in (source.train, source.validation)
    ]
    assert len(signers[0]) == len(signers[1]) == 2 and not signers[0] & signers[1]
    assert source.motions == str(tmp_path / "data" / "motions") and source.test is None
    with pytest.raises(InputError, match="--resume"):
        cross_validate(request, settings)
    with pytest.raises(InputError, match="was divided with"):
        cross_validate(request, FoldSettings("signer", 3), resume=True)
    with pytest.raises(InputError, match="enough"):
        cross_validate(request, settings, resume=True)
    # Folds that were interrupted while they were written are not taken for folds.
    (home / "folds" / "mine" / "folds.json").unlink()
    with pytest.raises(InputError, match="`document`"):
        cross_validate(request, FoldSettings("document", 2))
    assert not (home / "folds" / "mine" / "folds.json").exists()


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SweepRequest, Path]:
    """A search over two folds that has ended, and its folder; its sweeps only log their names."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    request = write_kinect_search(tmp_path)
    monkeypatch.setattr(cross_validation, "run_requested_sweep", run_empty_sweep)
    cross_validate(request, FoldSettings("signer", 2))
    return request, tmp_path / "home" / "folds" / "mine"


def run_empty_sweep(request: SweepRequest, resume: bool, overwrite: bool) -> Any:
    """Keep the journal of a sweep whose only trial failed."""
    state_dir = Path(os.environ["KINESWEEP_HOME"])
    folder = prepare_sweep_dir(state_dir / "sweeps" / request.name, resume, overwrite)
    with closing(Journal(folder)) as journal:
        if journal.start_session("identity", "q?"):
            values = {"training.learning_rate": 0.1}
            journal.append_event("trial_created", trial=0, values=values, config="a")
            fields = {"state": "failed", "scores": {}, "reason": "killed", "seconds": 1.0}
            journal.append_event("trial_ended", trial=0, **fields)
    return SimpleNamespace(folder=folder)


def test_only_one_process_searches_over_folds_at_a_time(
    finished: tuple[SweepRequest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, folder = finished
    before = (folder / "folds.json").read_bytes()
    monkeypatch.setattr(fold_tables, "_MAX_LOCK_WAIT_S", 0.01)
    with lock_folds("mine"), pytest.raises(InputError, match="another process runs the search"):
        cross_validate(request, FoldSettings("signer", 3), overwrite=True)
    assert (folder / "folds.json").read_bytes() == before


@pytest.mark.parametrize("content", ["", '{"by": "sig', "\x00"])
def test_damaged_settings_are_named(finished: tuple[SweepRequest, Path], content: str) -> None:
    request, folder = finished
    (folder / "folds.json").write_text(content)
    with pytest.raises(InputError, match=r"folds\.json` is damaged.*--overwrite"):
        cross_validate(request, FoldSettings("signer", 2), resume=True)
    cross_validate(request, FoldSettings("signer", 2), overwrite=True)


def test_folds_of_another_corpus_are_not_continued(finished: tuple[SweepRequest, Path]) -> None:
    """The sweeps read the tables of the folds, so they would not notice it."""
    request, folder = finished
    settings = FoldSettings("signer", 2)
    cross_validate(request, settings, resume=True)
    table = request.base / "data" / "all.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=r"is not what the corpus gives now \(2 of 4 tables"):
        cross_validate(request, settings, resume=True)
    table.write_text("".join(lines))
    (folder / "fold-1" / "train.tsv").unlink()
    with pytest.raises(InputError, match=r"fold-1/train\.tsv` is not what the corpus gives"):
        cross_validate(request, settings, resume=True)


def test_an_impossible_division_keeps_the_earlier_search(
    finished: tuple[SweepRequest, Path],
) -> None:
    request, folder = finished
    before = sorted(folder.parents[1].rglob("*.json*"))
    with pytest.raises(InputError, match="`document`"):
        cross_validate(request, FoldSettings("document", 2), overwrite=True)
    assert sorted(folder.parents[1].rglob("*.json*")) == before and before


def test_an_interrupted_search_continues_no_sweep_that_it_overwrites(
    finished: tuple[SweepRequest, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request, folder = finished
    monkeypatch.setattr(cross_validation, "run_requested_sweep", Sweeps(breaks_at=1))
    with pytest.raises(KeyboardInterrupt):
        cross_validate(request, FoldSettings("signer", 2), overwrite=True)
    assert not list((folder.parents[1] / "sweeps").iterdir())


def test_no_sweep_is_left_of_more_folds_than_now(finished: tuple[SweepRequest, Path]) -> None:
    request, folder = finished
    cross_validate(request, FoldSettings("signer", 4), overwrite=True)
    sweeps = folder.parents[1] / "sweeps"
    assert len([*sweeps.iterdir()]) == 4
    cross_validate(request, FoldSettings("signer", 2), overwrite=True)
    assert sorted(sweep.name for sweep in sweeps.iterdir()) == ["mine-fold-0", "mine-fold-1"]


def test_a_sweep_of_the_same_name_is_found_before_the_first_fold(
    finished: tuple[SweepRequest, Path],
) -> None:
    request, folder = finished
    shutil.rmtree(folder)
    shutil.rmtree(folder.parents[1] / "sweeps" / "mine-fold-0")
    with pytest.raises(InputError, match="`mine-fold-1` already exists"):
        cross_validate(request, FoldSettings("signer", 2))
    assert not folder.exists() and not (folder.parents[1] / "sweeps" / "mine-fold-0").exists()


def test_nothing_ranked_is_an_error(finished: tuple[SweepRequest, Path]) -> None:
    """The command would end with 0, and the table would show `failed` only."""
    request, folder = finished
    told = CliRunner().invoke(
        app,
        f"cross-validate {request.path} --name mine --base {request.base} --folds 2 --resume",
    )
    assert told.exit_code == 1 and "no configuration has a `bleu` on every fold" in told.output
    assert json.loads((folder / "result.json").read_text())["configurations"][0]["mean"] is None
    with pytest.raises(TrainingError, match="on every fold"):
        ks.cross_validate(request.path, folds=2, name="mine", base=request.base, resume=True)
