"""A sweep under a protocol ranks by the very scores that its runs were given."""

from pathlib import Path

import pytest

from kinesweep.config.recipe.evaluation import SCORING_PROTOCOLS
from kinesweep.evaluation.baselines import find_most_frequent_sentence
from kinesweep.evaluation.scoring import compute_scores
from kinesweep.sweeps.sweep import Sweep, run_sweep
from kinesweep.training.run_records.result import read_run_result
from sweeping import Here, Lab, OpenTimed, make_lab

pytestmark = pytest.mark.integration

STEPS = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", "max_steps": 60, "eval_steps": 60}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    evaluation = {"metrics": ["bleu", "rouge", "cider"], "protocol": "phoenix"}
    return make_lab(tmp_path_factory.mktemp("protocol"), training=STEPS, evaluation=evaluation)


@pytest.mark.parametrize(
    "metric", ["bleu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rouge", "cider"))]
)
def test_ranking_and_baselines_are_under_the_protocol(
    lab: Lab, tmp_path: Path, metric: str
) -> None:
    space = lab.space(
        metric={"name": metric},
        search={"kind": "random", "trials": 1, "seed": 0},
        baseline=False,
        finalists={"count": 1, "seeds": [1, 2]},
        sanity_baselines=["constant", "frequent", "nearest"],
        parameters={"training.learning_rate": {"log": [4e-3, 6e-3]}},
    )
    folder = tmp_path / "sweep"
    opened = OpenTimed(folder / "times")
    outcome = run_sweep(Sweep(space, lab.recipe, lab.stores, folder, opened, lambda _: None, Here))
    for run in map(Path, outcome.winner_runs):
        result = read_run_result(run)
        assert result is not None and result.scores[metric] > 0
        assert result.signatures[metric].startswith(f"protocol:phoenix|{metric}|")
        seed = int(run.name.rpartition("-s")[2])
        assert outcome.ranking[0].scores[seed] == pytest.approx(result.scores[metric])
    ordered = [outcome.ranking[0].scores[int(r.rpartition("-s")[2])] for r in outcome.winner_runs]
    assert ordered == sorted(ordered, reverse=True), "the best seed comes first: it is exported"
    always = [(k, v) for k, v in outcome.sanity.items() if k.startswith("always")]
    frequent = find_most_frequent_sentence(
        t for r in lab.store.get_records("train") for t in r.clip.texts
    )
    assert always[0][0] == f"always the most frequent, “{frequent}”"
    references = {r.clip.id: r.clip.texts for r in lab.store.get_records("validation")}
    for name, value in always:
        said = dict.fromkeys(references, name.partition("“")[2].removesuffix("”"))
        under = compute_scores(said, references, [metric], SCORING_PROTOCOLS["phoenix"]).values[
            metric
        ]
        assert value == pytest.approx(under)
    assert value != compute_scores(said, references, [metric]).values[metric]
