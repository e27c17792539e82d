"""Judges in runs, in `kinesweep evaluate`, in rankings and in recipes for other machines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus import tiny_recipe
from judge_server import Body, JudgeServer, serve_judge
from kinesweep.cli import main
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import JudgeError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.evaluation.metrics import build_metric
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.store import Store
from kinesweep.sweeps.results.sentence_statistics import compute_run_statistics
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.run_records.result import RunResult

CRITERIA = ["consistency", "error", "time", "body_part", "causation", "method", "coordination"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve_judge() as running:
        running.answer = grade
        yield running


def grade(body: Body) -> list[str]:
    """1 for indicators; 1 to 5 for consistency, by the length of the prompt."""
    prompt = body["messages"][0]["content"]
    return ["1" if "<reference>" not in prompt else str(1 + len(prompt) % 5)]


def judge(service: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"model": "tiny", "service": service, "criteria": CRITERIA, **settings}


def evaluate(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *words])
    said = capsys.readouterr()
    assert (left.value.code or 0) == code, said.err
    return said.out, said.err


@pytest.mark.integration
def test_predictions_are_judged_and_replayed_from_the_command_line(
    whole: RunResult, server: JudgeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "answers.jsonl"
    texts = whole.folder / "predictions" / "validation.tsv"
    live = judge({"kind": "openai", "base_url": server.url, "record": str(recording)})
    words = (str(whole.folder), "--predictions", str(texts))
    out = tmp_path / "live"
    _, shown = evaluate(
        capsys, *words, "--out", str(out), f"evaluation.judges={json.dumps([live])}"
    )
    assert "judge_error 100.00" in shown and "0 invalid answers" in shown
    results = json.loads((out / "validation_results.json").read_text())
    summary = results["judges"]["judge"]
    counted = [scores["requests"] for scores in summary["scores"].values()]
    assert len(counted) == len(CRITERIA) and sum(counted) == len(server.bodies)
    low, high = summary["scores"]["judge_consistency"]["interval"]
    assert low <= results["scores"]["judge_consistency"] <= high
    detected = summary["sport_indicators"]["error"]
    assert detected["detected"] == detected["graded"] == results["clips"]
    assert sum(detected["consistency"].values()) == results["clips"]
    num_requests = len(server.bodies)
    replay = judge({"kind": "replay", "recording": str(recording)})
    again, _ = evaluate(capsys, *words, f"evaluation.judges={json.dumps([replay])}", "--json")
    repeated = json.loads(again.splitlines()[-1])
    assert repeated["scores"] == results["scores"] and len(server.bodies) == num_requests
    assert repeated["signatures"] == results["signatures"]
    assert repeated["counts"]["judge_error"]["replayed"] == counted[1]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"kind": "replay", "recording": "nothing.jsonl"}, "nothing.jsonl` does not exist"),
        ({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}, "no server answers at"),
        (
            {"kind": "openai", "base_url": "http://127.0.0.1:1", "api_key_variable": "NO_SUCH"},
            "`NO_SUCH` with the key",
        ),
    ],
)
def test_missing_keys_servers_and_recordings_are_bad_input(
    whole: RunResult,
    capsys: pytest.CaptureFixture[str],
    service: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the model is loaded."""
    monkeypatch.setattr("kinesweep.pipelines.evaluation.evaluate_model", None)
    override = f"evaluation.judges={json.dumps([judge(service)])}"
    _, error = evaluate(capsys, str(whole.folder), override, code=2)
    assert said in error and "Traceback" not in error


@pytest.mark.integration
def test_a_run_is_judged_at_its_end_only(
    corpus: Path, store: Store, server: JudgeServer, tmp_path: Path
) -> None:
    settings = {"judges": [judge({"kind": "openai", "base_url": server.url})]}
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation=settings)
    num_requests: list[int] = []

    def report(_: object) -> bool:
        num_requests.append(len(server.bodies))
        return True

    folder = tmp_path / "run"
    result = train_run(RunSpec(recipe, store.folder, folder), NullRunLogger(), report)
    assert num_requests and set(num_requests) == {0} and server.bodies
    assert "judge_consistency" in result.scores and "judge_consistency" in result.signatures
    path = folder / "predictions" / "validation.tsv"
    texts = {row.clip_id: row.hypothesis for row in read_predictions(path)}
    asked = len(server.bodies)
    statistics, ids = compute_run_statistics(
        path, build_metric("judge_consistency", recipe.evaluation)
    )
    assert ids == sorted(texts) and len(server.bodies) == asked
    mean = statistics[:, 0].sum() / statistics[:, 1].sum()
    assert mean == pytest.approx(result.scores["judge_consistency"])
    # A clip without a valid answer takes no part, and is not asked about again.
    scores_path = path.with_name("validation_clip_scores.json")
    scores = json.loads(scores_path.read_text())
    del scores["judge_consistency"][ids[0]]
    scores_path.write_text(json.dumps(scores))
    rows, _ = compute_run_statistics(path, build_metric("judge_consistency", recipe.evaluation))
    assert rows[0].tolist() == [0, 0] and rows[1:].tolist() == statistics[1:].tolist()
    assert len(server.bodies) == asked
    summary = json.loads(path.with_name("validation_judges.json").read_text())
    assert summary["judge"]["scores"]["judge_error"]["clips"] == len(ids)


@pytest.mark.integration
def test_a_run_without_a_recording_fails_before_training(
    corpus: Path, store: Store, tmp_path: Path
) -> None:
    settings = {"judges": [judge({"kind": "replay", "recording": str(tmp_path / "none")})]}
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation=settings)
    with pytest.raises(JudgeError, match="does not exist"):
        train_run(RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True)
    expensive = judge({"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}, max_requests=1)
    recipe = tiny_recipe(corpus, store.folder.parent, evaluation={"judges": [expensive]})
    with serve_judge() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        expensive["service"]["base_url"] = server.url
        recipe = tiny_recipe(corpus, store.folder.parent, evaluation={"judges": [expensive]})
        with pytest.raises(JudgeError, match="would need up to"):
            train_run(
                RunSpec(recipe, store.folder, tmp_path / "run"), NullRunLogger(), lambda _: True
            )


def test_recipes_with_judges(corpus: Path, tmp_path: Path) -> None:
    """Recordings become absolute paths, bundles have no judges, and hashes no addresses."""
    service = {"kind": "openai", "base_url": "http://x/v1", "record": "answers.jsonl"}
    replay = {"kind": "replay", "recording": "answers.jsonl"}

    def built(*judges: dict[str, Any]) -> Recipe:
        return tiny_recipe(corpus, tmp_path, evaluation={"judges": list(judges)})

    live, replayed, bare = built(judge(service)), built(judge(replay)), built()
    assert live.resolve_paths(tmp_path).evaluation.judges[0].service.record == str(
        tmp_path / "answers.jsonl"
    )
    assert replayed.resolve_paths(tmp_path).evaluation.judges[0].service.recording == str(
        tmp_path / "answers.jsonl"
    )
    assert live.to_portable().evaluation.judges == ()
    hashes = [recipe.compute_config_hash("x") for recipe in (live, replayed, bare)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[2] == tiny_recipe(corpus, tmp_path).compute_config_hash("x")
    other = judge(service) | {"model": "other"}
    assert built(other).compute_config_hash("x") != hashes[0]
    bert = {"neural_metrics": {"bertscore": {"model": "bert"}}}
    plain = tiny_recipe(corpus, tmp_path, evaluation=bert)
    weighted = {"neural_metrics": {"bertscore": {"model": "bert", "idf": True}}}
    assert plain.compute_config_hash("x") != tiny_recipe(
        corpus, tmp_path, evaluation=weighted
    ).compute_config_hash("x")
