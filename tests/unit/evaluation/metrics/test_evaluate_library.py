"""Metrics of the library evaluate, from scripts that are written here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics import build_metric, compute_extra_scores, evaluate_library

SCRIPT = """
import datasets
import evaluate


class Own(evaluate.Metric):
    def _info(self):
        features = {"predictions": datasets.Value("string"), "references": REFERENCES}
        return evaluate.MetricInfo(
            description="", citation="", features=datasets.Features(features)
        )

    def _compute(self, predictions, references, bonus=0.0):
        if bonus < 0:
            raise ValueError("bonus must be positive")
        lengths = [len(text) for text in predictions]
        found = [text in wanted for text, wanted in zip(predictions, references)]
        # Not a mean over clips: the square of one.
        return {"square": (sum(found) / len(found)) ** 2 + bonus, "longest": max(lengths)}
"""
TEXTS = {"a": "sun", "b": "rain", "c": "wind", "d": "ice"}
REFERENCES = {"a": ("sun",), "b": ("snow", "rain"), "c": ("storm",), "d": ("ice",)}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `many`, whose metric takes lists of references, and `one`."""
    root = tmp_path_factory.mktemp("scripts")
    kinds = {
        "many": 'datasets.Sequence(datasets.Value("string"))',
        "one": 'datasets.Value("string")',
    }
    for name, references in kinds.items():
        (root / name).mkdir()
        (root / name / f"{name}.py").write_text(SCRIPT.replace("REFERENCES", references))
    return root


def evaluation(name: object, **settings: Any) -> EvaluationConfig:
    metric = {"kind": "evaluate", "name": str(name), "mode": "max", "key": "square", **settings}
    return EvaluationConfig.model_validate({"extra_metrics": [metric]})


def test_the_corpus_is_scored_at_once(scripts: Path) -> None:
    config = evaluation(scripts / "many", arguments={"bonus": 1.0}, scale=100)
    found = compute_extra_scores(TEXTS, REFERENCES, config)
    assert found.values["many"] == pytest.approx(100 * (0.75**2 + 1))
    assert found.clip_scores == {}
    assert found.signatures["many"].startswith(
        "protocol:raw|many|name:many|bonus:1.0|key:square|scale:100|level:corpus|evaluate:"
    )


def test_a_resample_is_scored_by_its_texts(scripts: Path) -> None:
    metric = build_metric("many", evaluation(scripts / "many"))
    other = {**TEXTS, "a": "moon"}
    rows, other_rows = (
        metric.compute_clip_statistics(texts, REFERENCES) for texts in (TEXTS, other)
    )
    assert metric.compute_score_from_sum(rows.sum(0)) == pytest.approx(0.75**2)
    assert metric.compute_score_from_sum(other_rows.sum(0)) == pytest.approx(0.5**2)
    drawn = np.array([2.0, 0, 1, 1])
    assert metric.compute_score_from_sum(drawn @ rows) == pytest.approx(0.75**2)
    assert metric.compute_score_from_sum(drawn @ other_rows) == pytest.approx(0.25**2)
    assert metric.num_resamples == 200


def test_too_many_clips_to_resample(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_library, "_MAX_RESAMPLED_CLIPS", 3)
    metric = build_metric("many", evaluation(scripts / "many"))
    assert metric(TEXTS, REFERENCES) == pytest.approx(0.75**2)
    with pytest.raises(InputError, match="`level: segment`"):
        metric.compute_clip_statistics(TEXTS, REFERENCES)


@pytest.mark.parametrize("name", ["many", "one"])
def test_each_clip_is_scored_alone(scripts: Path, name: str) -> None:
    found = compute_extra_scores(
        TEXTS, REFERENCES, evaluation(scripts / name, level="segment", label="own")
    )
    # `one` takes a single reference, of which the best counts; `in` finds parts of it.
    assert found.clip_scores["own"] == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    assert found.values["own"] == 0.75


def test_one_reference_is_the_first_for_the_corpus(scripts: Path) -> None:
    found = compute_extra_scores(TEXTS, REFERENCES, evaluation(scripts / "one"))
    assert found.values["one"] == pytest.approx(0.5**2)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"key": None}, "returns square, longest"),
        ({"arguments": {"bonus": -1}}, "ValueError: bonus must be positive"),
        ({"name": "someone/metric"}, "`trust_remote_code: true`"),
        ({"name": "someone/metric"}, r"evaluation.extra_metrics=\[\]"),
    ],
)
def test_what_cannot_be_computed(scripts: Path, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        compute_extra_scores(
            TEXTS, REFERENCES, evaluation(**{"name": scripts / "many", **settings})
        )


def test_a_script_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(InputError, match="nothing_of_this_name"):
        compute_extra_scores(TEXTS, REFERENCES, evaluation(tmp_path / "broken"))
