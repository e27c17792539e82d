"""Journal, pruning, ends of trials and finals: decisions without Ray and without a clock."""

import json
import math
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from corpus import tiny_recipe
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.sweeps.finals import UNTUNED, best_trials, choose
from kinesweep.sweeps.journal import Journal, Trial
from kinesweep.sweeps.schedule import Asha
from kinesweep.sweeps.search import build_sampler, told_trial, verdict
from kinesweep.sweeps.space import SearchSpace, load_space

SPACE = {
    "question": "Which rate?",
    "recipe": "recipe.yaml",
    "search": {"kind": "tpe", "trials": 6, "seed": 0},
    "finalists": {"count": 2, "seeds": [1, 2]},
    "parameters": {
        "training.learning_rate": {"log": [1e-4, 1e-2]},
        "model.backbone.scratch.encoder_layers": {"int": [1, 3]},
    },
}


def write(folder: Path, changes: dict[str, object]) -> Path:
    recipe = tiny_recipe(folder / "corpus", folder / "stores")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({**SPACE, **changes}))
    return path


def space(folder: Path, **changes: object) -> SearchSpace:
    return load_space(write(folder, changes), [], folder)[0]


@pytest.mark.parametrize(
    ("parameters", "key", "text"),
    [
        ({"training.learnin_rate": {"log": [1e-4, 1e-2]}}, "learnin_rate", "`training.learning_r"),
        ({"training.learning_rate": {"float": [-1.0, 1.0]}}, "learning_rate", "greater than 0"),
        ({"training.max_steps": {"choices": [10, 2.5]}}, "max_steps", "2.5"),
        ({"training.seed": {"int": [1, 5]}}, "training.seed", "cannot be searched"),
        ({"features.stride": {"int": [1, 2]}}, "features.stride", "cannot be searched"),
        ({"training.learning_rate": {"log": [0, 1]}}, "learning_rate", "above 0"),
        ({"training.learning_rate": {"log": [2, 1]}}, "learning_rate", "must rise"),
        ({"training.learning_rate": {}}, "learning_rate", "exactly one"),
        ({"training.learning_rate": {"lgo": [1, 2]}}, "lgo", "did you mean `log`?"),
    ],
)
def test_a_space_is_checked_before_the_first_trial(
    tmp_path: Path, parameters: dict[str, object], key: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space(write(tmp_path, {"parameters": parameters}), [], tmp_path)
    assert key in str(caught.value)
    assert text in str(caught.value)


def test_the_search_seed_stays_out_of_the_finals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="biased"):
        load_space(write(tmp_path, {"finalists": {"seeds": [0, 1]}}), [], tmp_path)


def test_overrides_reach_space_and_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    given, recipe = load_space(path, ["search.trials=3", "recipe.training.max_steps=7"], tmp_path)
    assert (given.search.trials, recipe.training.max_steps) == (3, 7)


def test_a_journal_survives_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.begin("one", "?") is False
    journal.add("trial_created", trial=0, values={"a": 1}, config="c")
    journal.add("trial_ended", trial=0, state="finished", score=3.5)
    journal.add("trial_created", trial=1, values={"a": 2}, config="d")
    journal.close()
    with journal.path.open("a") as file:
        file.write('{"event": "trial_ended", "tri')
    again = Journal(tmp_path)
    assert again.begin("one", "?") is True
    assert [(t.state, t.score) for t in again.trials()] == [("finished", 3.5), ("running", None)]
    again.add("trial_ended", trial=1, state="pruned", score=None)
    again.close()
    assert [json.loads(line) for line in again.path.read_text().splitlines()] == again.events
    with pytest.raises(CheckpointError, match="another sweep"):
        Journal(tmp_path).begin("two", "?")


def test_asha_keeps_the_best_third() -> None:
    asha = Asha(grace=100, reduction=3)
    assert asha.goes_on("a", 50, 9.0), "before the first rung nobody is judged"
    assert asha.goes_on("a", 100, 5.0), "the first to come passes"
    assert not asha.goes_on("b", 120, 6.0)
    assert asha.goes_on("c", 100, 4.0)
    assert asha.goes_on("c", 200, 99.0), "a rung judges once"
    assert asha.goes_on("c", 300, 3.0)
    assert not asha.goes_on("d", 300, 3.5)
    assert not asha.goes_on("e", 10, math.nan)


@pytest.mark.parametrize(
    ("result", "error", "state"),
    [
        ({"token_loss": 1.0, "bleu": 2.0, "finished": True}, False, TrialState.COMPLETE),
        ({"token_loss": 1.0, "bleu": 2.0}, False, TrialState.PRUNED),
        ({"token_loss": math.nan, "bleu": 2.0, "finished": True}, False, TrialState.FAIL),
        ({"token_loss": 1.0, "bleu": math.nan, "finished": True}, False, TrialState.FAIL),
        ({"token_loss": 1.0, "bleu": 2.0, "finished": True}, True, TrialState.FAIL),
        (None, False, TrialState.FAIL),
    ],
)
def test_how_a_trial_ended(result: dict[str, float] | None, error: bool, state: TrialState) -> None:
    found, score = verdict(result, error, "bleu")
    assert found is state
    assert score == (2.0 if state is TrialState.COMPLETE else None)


def test_a_study_made_again_does_not_repeat_itself(tmp_path: Path) -> None:
    asked = space(tmp_path)
    distributions = {n: p.distribution() for n, p in asked.parameters.items()}

    def proposals(told: list[Trial]) -> list[dict[str, float]]:
        study = optuna.create_study(direction="maximize", sampler=build_sampler(asked, len(told)))
        for trial in told:
            study.add_trial(told_trial(trial, asked))
        return [study.ask(distributions).params for _ in range(3)]

    first = proposals([])
    assert proposals([]) == first
    told = [Trial(i, v, f"c{i}", "finished", 10.0 + i) for i, v in enumerate(first)]
    assert not any(value in first for value in proposals(told))


def test_finals_take_each_configuration_once(tmp_path: Path) -> None:
    asked, recipe = load_space(write(tmp_path, {"sanity": ["zeros", "shuffled"]}), [], tmp_path)
    values = {"training.learning_rate": 1e-3, "model.backbone.scratch.encoder_layers": 2}
    trials = [
        Trial(0, values, "same", "finished", 5.0),
        Trial(1, values, "same", "finished", 5.0),
        Trial(2, {**values, "training.learning_rate": 2e-3}, "other", "finished", 4.0),
        Trial(3, values, "pruned", "pruned", None),
        Trial(4, values, "broken", "failed", None),
    ]
    assert [t.number for t in best_trials(trials, 3)] == [0, 2]
    names = [f.name for f in choose(asked, recipe, trials)]
    assert names == ["trial 0", "trial 2", UNTUNED, "trained on zeros", "trained on shuffled pairs"]
    zeros = choose(asked, recipe, trials)[3]
    assert (zeros.ranked, zeros.seeds, zeros.recipe.batch.ablation) == (False, (1,), "zeros")
