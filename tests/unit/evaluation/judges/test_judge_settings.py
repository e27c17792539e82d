"""Settings of judges: what is refused, and names of scores."""

import json
from pathlib import Path
from typing import Any

import pytest

from judging import section
from kinesweep.config.loading import load_config
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criteria": []}, "at least 1"),
        ({"criteria": ["error", "error"]}, "`error` twice"),
        ({"samples": 3}, "need a `temperature` above 0"),
        ({"scoring": "probabilities", "samples": 2, "temperature": 1}, "set `samples: 1`"),
        ({"label": "Big"}, "pattern"),
        ({"service": {"kind": "openai", "base_url": "ftp://x"}}, "must begin with `http://`"),
        ({"service": {"kind": "openai", "base_url": "http://a:b@x"}}, "no user, password"),
        (
            {"service": {"kind": "openai", "base_url": "http://x", "api_key_variable": "sk-12"}},
            "not the key itself",
        ),
        (
            {
                "scoring": "probabilities",
                "criteria": [{"name": "own", "definition": "x", "maximum": 10}],
            },
            "grades to 10",
        ),
        ({"criteria": [{"name": "own", "definition": "x", "minimum": 5}]}, "must be below"),
    ],
)
def test_settings_that_do_not_suit(settings: dict[str, Any], said: str) -> None:
    values = {"model": "m", "service": {"kind": "replay", "recording": "x"}, **settings}
    with pytest.raises(ValueError, match=said):
        EvaluationConfig.model_validate({"judges": [values]})


def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    service = {"kind": "openai", "base_url": "http://x", "api_key_variable": "sk-my-secret"}
    path = tmp_path / "section.yaml"
    path.write_text(json.dumps({"judges": [{"model": "m", "service": service}]}))
    with pytest.raises(ConfigError) as caught:
        load_config(EvaluationConfig, path)
    assert "sk-my-secret" not in str(caught.value) and "judges" in str(caught.value)


def test_names_of_scores_and_when_they_are_computed() -> None:
    replay = {"kind": "replay", "recording": "x"}
    own = {"name": "style", "definition": "Good style.", "maximum": 3}
    config = section(replay, criteria=["consistency", "error", own], label="coach")
    names = ("coach_consistency", "coach_error", "coach_style")
    assert config.judges[0].score_names == names
    assert [config.metric_modes[name] for name in names] == ["max"] * 3
    assert not set(names) & set(config.training_metrics)
    reason = config.explain_missing_metric("coach_error")
    assert reason is not None and "entry of `evaluation.judges`" in reason
    assert config.select_training_metrics().judges == ()
    always = section(replay, during_training=True)
    assert always.training_metrics[-1] == "judge_consistency"
    assert always.select_training_metrics().judges == always.judges
    judge = config.judges[0].model_dump()
    with pytest.raises(ValueError, match="two scores would be called `coach_consistency`"):
        EvaluationConfig.model_validate({"judges": [judge, judge]})
