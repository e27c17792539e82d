"""The Optuna study of a sweep holds what its journal holds, once, whatever happened meanwhile."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kinesweep.config.loading import validate_config
from kinesweep.core.errors import InputError
from kinesweep.sweeps.journal.journal import Journal, read_journal
from kinesweep.sweeps.search.finals import sort_trials
from kinesweep.sweeps.space.space import SearchSpace
from kinesweep.sweeps.study import follower, storage
from kinesweep.sweeps.study.follower import follow_journal
from kinesweep.sweeps.study.study_mirror import StudyMirror
from postgres import run_postgres

RATE, KIND, SIZE = "training.learning_rate", "model.encoder.kind", "model.encoder.width"


def make_space(**changes: Any) -> SearchSpace:
    """A space with a scientific, a conditional and a continuous parameter."""
    plain = {
        "question": "Which encoder?",
        "recipe": "tiny.yaml",
        "search": {"kind": "random", "trials": 6, "seed": 5},
        "pruner": {"metric": "token_loss"},
        "parameters": {
            RATE: {"log": [1e-5, 1e-1]},
            KIND: {"choices": ["linear", "stgcn"], "role": "scientific"},
            SIZE: {"int": [8, 64], "when": {KIND: "stgcn"}},
        },
        **changes,
    }
    return validate_config(SearchSpace, plain, "the space")


def write_trials(journal: Journal, first: int, last: int, scores: tuple[str, ...] = ()) -> None:
    """Trials that finish, are pruned, fail, are duplicates and, the last one, still run."""
    rng = random.Random(first)
    for number in range(first, last):
        values: dict[str, Any] = {RATE: 10 ** rng.uniform(-5, -1), KIND: "linear"}
        if number % 2:
            values |= {KIND: "stgcn", SIZE: rng.randint(8, 64)}
        journal.append_event("trial_created", trial=number, values=values, config=f"hash{number}")
        if number == last - 1:
            return
        for step in (1, 2):
            end_trial_step(journal, number, step)
        state = ("finished", "pruned", "finished", "failed")[number % 4]
        names = scores or ("bleu",)
        found = {name: rng.random() * 30 for name in names} if state == "finished" else {}
        reason = "killed" if state == "failed" else ""
        fields = {"state": state, "scores": found, "reason": reason, "seconds": 1.5}
        journal.append_event("trial_ended", trial=number, **fields)


def end_trial_step(journal: Journal, number: int, step: int) -> None:
    """One evaluation."""
    samples = {"step": step, "samples": 32 * step, "beyond": 32.0 * step, "loss": 3.0 / step}
    journal.append_event("trial_reported", trial=number, **samples)


def start(folder: Path) -> Journal:
    """A journal of a sweep."""
    journal = Journal(folder)
    journal.start_session("identity", "Which encoder?")
    return journal


def load(address: str | Path) -> optuna.Study:
    """The only study of a storage, as a user opens it."""
    if not isinstance(address, str):
        backend = optuna.storages.journal.JournalFileBackend(str(address))
        return optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    return optuna.load_study(study_name=None, storage=address)


def describe(study: optuna.Study) -> list[tuple[Any, ...]]:
    """All that a study tells of its trials, without ids and the times of repairs."""
    return [
        (
            t.number,
            t.state,
            t.values,
            t.params,
            t.distributions,
            t.intermediate_values,
            t.user_attrs,
        )
        for t in study.trials
    ]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL."""
    with run_postgres() as address:
        yield address


@pytest.fixture(params=["file", "sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SearchSpace, Any]:
    """A space with the storage, and what opens the storage."""
    if request.param == "file":
        return make_space(), tmp_path / "mine" / storage.STUDY_FILE
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    if request.param == "postgres":
        import psycopg

        url = request.getfixturevalue("postgres")
        database = f"test_{abs(hash(request.node.name))}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        url = url.replace("/postgres", f"/{database}")
    return make_space(study_storage=url), storage.get_study_address(tmp_path, url)


def test_a_study_tells_what_the_journal_tells(
    tmp_path: Path, place: tuple[SearchSpace, Any]
) -> None:
    space, address = place
    journal = start(tmp_path / "mine")
    write_trials(journal, 0, 6)
    StudyMirror(tmp_path / "mine", space, journal.events).close()
    study = load(address)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL]
    assert [t.state for t in study.trials] == [*states, TrialState.COMPLETE, TrialState.RUNNING]
    assert study.metric_names == ["bleu"]
    best = sort_trials(space, journal.trials)[0]
    assert (study.best_trial.number, study.best_value) == (best.number, best.scores["bleu"])
    for trial, found in zip(journal.trials, study.trials, strict=True):
        assert found.params == trial.values
        assert found.distributions[RATE] == optuna.distributions.FloatDistribution(
            1e-5, 1e-1, log=True
        )
        assert found.user_attrs["config_hash"] == trial.config_hash
        assert found.user_attrs["level"] == f"{KIND}={trial.values[KIND]}"
        assert found.user_attrs["seed"] == 5
    assert SIZE not in study.trials[0].params and SIZE in study.trials[1].params
    assert study.trials[0].intermediate_values == {32: 3.0, 64: 1.5}
    assert study.trials[3].user_attrs["reason"] == "killed"
    started = study.trials[0].datetime_start
    assert started is not None
    assert started.timestamp() == pytest.approx(journal.trials[0].start_time, abs=1e-3)


def test_trials_are_there_once_after_kills_at_any_event(
    tmp_path: Path, place: tuple[SearchSpace, Any]
) -> None:
    """A driver that dies between any two events, a resume each time, and an extension."""
    space, address = place
    journal = start(tmp_path / "mine")
    write_trials(journal, 0, 6)
    end_trial_step(journal, 5, 1)
    fields = {"state": "finished", "scores": {"bleu": 99.0}, "reason": "", "seconds": 1.0}
    journal.append_event("trial_ended", trial=5, **fields)
    journal.append_event("ranked", winner="trial 5")
    write_trials(journal, 6, 9)
    events = journal.events
    rng = random.Random("kills")
    mirror, done = None, 2
    while done < len(events):
        further = min(len(events), done + rng.randint(1, 6))
        if mirror is None or rng.random() < 0.5:
            mirror = StudyMirror(tmp_path / "mine", space, events[:further])
        else:
            mirror.apply_events(events[done:further])
        done = further
    for _ in range(2):
        StudyMirror(tmp_path / "mine", space, events).close()
        found = describe(load(address))
        assert [line[0] for line in found] == list(range(9))
    (tmp_path / "other").mkdir()
    undisturbed = StudyMirror(tmp_path / "other", make_space(), events)
    undisturbed.close()
    assert found == describe(load(tmp_path / "other" / storage.STUDY_FILE))
    study = load(address)
    assert (study.best_trial.number, study.best_value) == (5, 99.0)
    assert study.user_attrs["winner"] == "trial 5"


def test_a_half_written_line_is_forgotten(tmp_path: Path) -> None:
    folder, space = tmp_path / "mine", make_space()
    journal = start(folder)
    write_trials(journal, 0, 3)
    StudyMirror(folder, space, journal.events)
    path = folder / storage.STUDY_FILE
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) - 40, 10):
        path.write_bytes(whole[:size])
        StudyMirror(folder, space, journal.events)
        assert [t.number for t in load(path).trials] == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"not a journal\n", b"\xff\x00\n", b'{"op_code": 77}\n', b"[]\n"]
)
def test_a_damaged_file_is_written_again(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "mine"
    journal = start(folder)
    write_trials(journal, 0, 3)
    (folder / storage.STUDY_FILE).write_bytes(content)
    StudyMirror(folder, make_space(), journal.events)
    assert len(load(folder / storage.STUDY_FILE).trials) == 3
    assert (folder / f"{storage.STUDY_FILE}.damaged").read_bytes() == content
    assert "is damaged" in caplog.text


def test_what_others_wrote_into_the_study_gives_way_to_the_journal(
    tmp_path: Path, place: tuple[SearchSpace, Any]
) -> None:
    space, address = place
    journal = start(tmp_path / "mine")
    write_trials(journal, 0, 4)
    StudyMirror(tmp_path / "mine", space, journal.events)
    wanted = describe(load(address))
    load(address).add_trial(optuna.trial.create_trial(value=1000.0))
    assert load(address).best_value == 1000.0
    StudyMirror(tmp_path / "mine", space, journal.events)
    assert describe(load(address)) == wanted


def test_a_trial_that_others_add_during_the_sweep_takes_no_number(
    tmp_path: Path, place: tuple[SearchSpace, Any]
) -> None:
    space, address = place
    journal = start(tmp_path / "mine")
    write_trials(journal, 0, 3)
    mirror = StudyMirror(tmp_path / "mine", space, journal.events)
    journal.append_event("ranked", winner="trial 0")
    num_events = len(journal.events)
    mirror.apply_events(journal.events[num_events - 1 :])
    load(address).add_trial(optuna.trial.create_trial(value=1000.0))
    write_trials(journal, 3, 6)
    mirror.apply_events(journal.events[num_events:])
    hashes = [trial.user_attrs["config_hash"] for trial in load(address).trials]
    assert hashes == [f"hash{number}" for number in range(6)]
    assert load(address).user_attrs["winner"] == "trial 0"


def test_a_trial_that_others_add_last_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_PAUSE_S", 0.02)
    folder, path = tmp_path / "mine", tmp_path / "mine" / storage.STUDY_FILE
    journal = start(folder)
    with follow_journal(journal, make_space(), folder):
        write_trials(journal, 0, 3)
        wait_for_trials(path, 3)
        load(path).add_trial(optuna.trial.create_trial(value=1000.0))
    assert [trial.number for trial in load(path).trials] == [0, 1, 2]


def test_a_line_that_a_dashboard_is_writing_is_kept(tmp_path: Path) -> None:
    """Whoever writes holds Optuna's lock, so an incomplete line is no damage before that."""
    folder, path = tmp_path / "mine", tmp_path / "mine" / storage.STUDY_FILE
    journal = start(folder)
    write_trials(journal, 0, 3)
    StudyMirror(folder, make_space(), journal.events)
    load(path).set_user_attr("note", "of the dashboard")
    whole, lock = path.read_bytes(), optuna.storages.journal.JournalFileSymlinkLock(str(path))
    lock.acquire()
    path.write_bytes(whole[:-20])

    def write_the_rest() -> None:
        with path.open("ab") as file:
            file.write(whole[-20:])
        lock.release()

    timer = threading.Timer(0.1, write_the_rest)
    timer.start()
    StudyMirror(folder, make_space(), journal.events)
    timer.join()
    assert load(path).user_attrs["note"] == "of the dashboard"
    assert not (folder / f"{storage.STUDY_FILE}.damaged").exists()


@pytest.mark.parametrize("choices", [[1, 1.0, True, None, "1"], [0, False], [True, False, "x"]])
def test_choices_that_are_equal_in_python_are_kept_apart(
    tmp_path: Path, choices: list[Any]
) -> None:
    space = make_space(parameters={RATE: {"choices": choices}})
    journal = start(tmp_path)
    for number, choice in enumerate(choices):
        journal.append_event("trial_created", trial=number, values={RATE: choice}, config="h")
    for _ in range(2):
        StudyMirror(tmp_path, space, journal.events).close()
    shown = [trial.params[RATE] for trial in load(tmp_path / storage.STUDY_FILE).trials]
    assert len(set(map(repr, shown))) == len(set(shown)) == len(choices)


def test_sweeps_share_a_database(tmp_path: Path) -> None:
    """Two of the same name have a study each, and that of somebody else is left alone."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    theirs = optuna.create_study(storage=url, study_name="mine")
    theirs.add_trial(optuna.trial.create_trial(value=1.0))
    names = set()
    for folder, count in ((tmp_path / "a" / "mine", 3), (tmp_path / "b" / "mine", 5)):
        journal = Journal(folder, clock=lambda count=count: float(count))
        journal.start_session("identity", "q")
        write_trials(journal, 0, count)
        for _ in range(2):
            mirror = StudyMirror(folder, make_space(study_storage=url), journal.events)
            names.add(mirror.name)
            mirror.close()
    counts = {study.study_name: study.n_trials for study in optuna.get_all_study_summaries(url)}
    assert counts.pop("mine") == 1
    assert sorted(counts.values()) == [3, 5] and set(counts) == names


def test_several_objectives(tmp_path: Path) -> None:
    metric = [{"name": "bleu"}, {"name": "decode_ms"}]
    space = make_space(metric=metric, pruner={"kind": "none"})
    journal = start(tmp_path)
    write_trials(journal, 0, 6, ("bleu", "decode_ms"))
    StudyMirror(tmp_path, space, journal.events)
    study = load(tmp_path / storage.STUDY_FILE)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["bleu", "decode_ms"]
    assert study.trials[0].values == list(journal.trials[0].scores.values())
    assert all(not trial.intermediate_values for trial in study.trials)


def test_the_study_follows_while_the_driver_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there during the sweep, also after somebody deleted it, and complete at the end."""
    monkeypatch.setattr(follower, "_PAUSE_S", 0.02)
    folder, path = tmp_path / "mine", tmp_path / "mine" / storage.STUDY_FILE
    journal = start(folder)
    with follow_journal(journal, make_space(), folder):
        write_trials(journal, 0, 3)
        wait_for_trials(path, 3)
        path.unlink()
        wait_for_trials(path, 3)  # also without a new event
        write_trials(journal, 3, 7)
        wait_for_trials(path, 7)
        write_trials(journal, 7, 12)
    assert [t.number for t in load(path).trials] == list(range(12))


def wait_for_trials(path: Path, count: int) -> None:
    """Wait until a study has this many trials."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if path.exists() and len(load(path).trials) == count:
                return
        except ValueError:  # being written
            pass
        time.sleep(0.02)
    pytest.fail(f"{path.name} did not get {count} trials within a minute")


def test_a_storage_that_is_away_is_a_warning_and_is_completed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "_PAUSE_S", 0.01)
    away = tmp_path / "away"
    away.write_text("a file where a folder is wanted")
    space = make_space(study_storage=f"sqlite:///{away / 'studies.db'}")
    journal = start(tmp_path / "mine")
    with caplog.at_level(logging.WARNING), follow_journal(journal, space, tmp_path / "mine"):
        write_trials(journal, 0, 3)
    assert caplog.text.count("is not up to date") == 1
    away.unlink()
    StudyMirror(tmp_path / "mine", space, read_journal(tmp_path / "mine"))
    assert len(load(f"sqlite:///{away / 'studies.db'}").trials) == 3


def test_a_file_that_cannot_be_looked_at_does_not_end_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_PAUSE_S", 0.01)
    folder = tmp_path / "mine"
    original, failures = StudyMirror._read_inode, [0]

    def fail_at_first(mirror: StudyMirror) -> int | None:
        failures[0] += 1
        if failures[0] == 2:
            raise PermissionError("no access")
        return original(mirror)

    monkeypatch.setattr(StudyMirror, "_read_inode", fail_at_first)
    journal = start(folder)
    with follow_journal(journal, make_space(), folder):
        write_trials(journal, 0, 3)
        wait_for_trials(folder / storage.STUDY_FILE, 3)
        write_trials(journal, 3, 7)
    assert failures[0] > 2
    assert len(load(folder / storage.STUDY_FILE).trials) == 7


def test_a_locked_storage_does_not_hold_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import time

    monkeypatch.setattr(follower, "_CLOSE_TIMEOUT_S", 0.2)
    (tmp_path / "mine").mkdir()
    lock = tmp_path / "mine" / f"{storage.STUDY_FILE}.lock"
    lock.symlink_to("somebody")
    journal = start(tmp_path / "mine")
    began = time.monotonic()
    with follow_journal(journal, make_space(), tmp_path / "mine"):
        write_trials(journal, 0, 3)
    # Optuna itself waits 30 s before it takes a lock for abandoned.
    assert time.monotonic() - began < 20
    assert "does not answer" in caplog.text
    lock.unlink()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://me:hunter2@db/studies", "must not contain a password"),
        ("postgresql://me@db/studies?password=hunter2", "must not contain a password"),
        ("postgresql://[hunter2/studies", "not a valid address"),
        ("mysql://me:hunter2@db/studies", "must be `postgresql://"),
        ("postgresql://me@db", "must be `postgresql://"),
        ("sqlite:///", "needs the path of a file"),
        ("sqlite:///:memory:", "needs the path of a file"),
        ("study.db", "must be `postgresql://"),
        ("", "must be `postgresql://"),
    ],
)
def test_bad_addresses_are_refused_and_not_repeated(url: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason) as refused:
        make_space(study_storage=url)
    assert "study_storage" in str(refused.value) and "hunter2" not in str(refused.value)


def test_relative_files_are_of_the_base_folder(tmp_path: Path) -> None:
    assert storage.resolve_study_url("sqlite:///a/b.db", tmp_path) == f"sqlite:///{tmp_path}/a/b.db"
    assert storage.resolve_study_url("sqlite:////a/b.db", tmp_path) == "sqlite:////a/b.db"
    assert storage.resolve_study_url("postgresql://me@db/s", tmp_path) == "postgresql://me@db/s"


def test_the_printed_address_names_the_driver_that_is_installed() -> None:
    """SQLAlchemy 2.0 takes `postgresql` alone for a driver that nobody installed."""
    command = storage.format_dashboard_command(Path("mine"), "postgresql://me@db/studies")
    assert command == "optuna-dashboard postgresql+psycopg://me@db/studies"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "find_spec", lambda _: None)
    storage.check_study_driver(None)
    storage.check_study_driver("sqlite:///a.db")
    with pytest.raises(InputError, match=r"kinesweep\[postgres\]"):
        storage.check_study_driver("postgresql://me@db/studies")
