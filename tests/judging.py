"""Judged texts, and sections of recipes with judges, for their tests."""

from typing import Any

from judge_server import Body, JudgeServer
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.evaluation.judges.panel import JudgePanel
from kinesweep.evaluation.metrics.base import MetricResult

SAID = {"a": "Lift the left hand.", "b": "Turn the hips.", "c": "", "d": "Turn the hips."}
WANTED = {
    "a": ("Lift your left hand.", "Guard up."),
    "b": ("Turn more.",),
    "c": ("Good.",),
    "d": ("Turn more.",),
}
KEY = "secret-key-of-a-test"


def section(service: dict[str, Any], **settings: Any) -> EvaluationConfig:
    judge = {"model": "tiny", "service": service, **settings}
    return EvaluationConfig.model_validate({"judges": [judge]})


def at(server: JudgeServer, **settings: Any) -> dict[str, Any]:
    return {"kind": "openai", "base_url": server.url, **settings}


def grade_of(config: EvaluationConfig, said: dict[str, str] = SAID) -> MetricResult:
    wanted = {clip_id: WANTED[clip_id] for clip_id in said}
    return JudgePanel(config.judges[0]).compute(said, wanted)["judge_consistency"]


def by_text(body: Body) -> list[str]:
    """Better grades against the first reference of `a` than the second."""
    prompt = body["messages"][0]["content"]
    return ["Grade: 5" if "your left hand" in prompt else "2"] * body.get("n", 1)
