"""COMET in a subprocess: its requests and answers here, the package itself in `slow` tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from comet_models import SAMPLES
from environments import ROOT, cached_environment
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.evaluation.metrics import comet, comet_worker, compute_extra_scores
from kinesweep.evaluation.metrics.preflight import check_metrics
from kinesweep.evaluation.metrics.source_texts import get_source_texts
from kinesweep.features.estimators.virtualenv import get_environment_python
from kinesweep.store.extraction.build import extract_locally
from written import signed_texts, texts, written_recipe

TEXTS = {str(i): sample["mt"] for i, sample in enumerate(SAMPLES)}
REFERENCES = {str(i): (sample["ref"],) for i, sample in enumerate(SAMPLES)}
SOURCES = {str(i): sample["src"] for i, sample in enumerate(SAMPLES)}


def config(**settings: Any) -> EvaluationConfig:
    comet_settings = {"model": "Unbabel/wmt22-comet-da", **settings}
    return EvaluationConfig.model_validate({"neural_metrics": {"comet": comet_settings}})


class Model:
    """Scores a sample by its lengths, as a stand-in for a model of the package."""

    def __init__(self, segments: list[str]) -> None:
        self.hparams = {"input_segments": segments}

    def requires_references(self) -> bool:
        return False

    def predict(self, samples: list[dict[str, str]], **_: object) -> dict[str, list[float]]:
        return {"scores": [sum(map(len, sample.values())) / 100 for sample in samples]}


@pytest.mark.parametrize(("segments", "reads"), [(["mt", "src"], False), (["mt", "ref"], True)])
def test_references_are_sent_to_models_that_read_them(
    monkeypatch: pytest.MonkeyPatch, segments: list[str], reads: bool
) -> None:
    package = SimpleNamespace(
        download_model=lambda name: f"cache/{name}", load_from_checkpoint=lambda _: Model(segments)
    )
    monkeypatch.setitem(sys.modules, "comet", package)  # type: ignore[arg-type]
    answer = comet_worker.score(
        {"model": "a/b", "samples": SAMPLES, "batch_size": 2, "device": None}
    )
    keys = ("src", "mt", "ref") if reads else ("src", "mt")
    assert answer["references"] is reads
    assert answer["scores"] == [sum(len(s[key]) for key in keys) / 100 for s in SAMPLES]


def test_scores_signature_and_empty_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        return {"scores": [0.5 + 0.1 * i for i in range(len(request["samples"]))]} | {
            "references": False
        }

    monkeypatch.setattr(comet, "_run_worker", answer)
    found = compute_extra_scores({**TEXTS, "1": ""}, REFERENCES, config(), sources=SOURCES)
    assert [sample["src"] for sample in requests[0]["samples"]] == ["RAIN FALL", "SUN SHINE"]
    assert found.clip_scores["comet"] == pytest.approx({"0": 60.0, "1": 0.0, "2": 50.0})
    assert found.values["comet"] == pytest.approx(110 / 3)
    assert found.signatures["comet"] == (
        "protocol:raw|comet|model:wmt22-comet-da|source:gloss|references:no|version:2.2.7"
    )


def test_a_clip_without_a_source_text() -> None:
    with pytest.raises(InputError, match=r"1 of 3 have none in `gloss`; the first is `2`"):
        compute_extra_scores(TEXTS, REFERENCES, config(), sources={**SOURCES, "2": " "})


def test_what_the_package_complains_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comet, "get_environment_python", lambda *_, **__: sys.executable)
    assert isinstance(comet, ModuleType)
    with pytest.raises(InputError, match="wmt22-comet-da`, which cannot be used: ModuleNotFound"):
        compute_extra_scores(TEXTS, REFERENCES, config(), sources=SOURCES)


def test_where_source_texts_come_from(tmp_path: Path) -> None:
    clips = [Clip("a", "test", "a.mp4", gloss="SUN", encoder_prompt="hello")]
    table = tmp_path / "sources.tsv"
    table.write_text("id\tsource\na\tthe source\n")
    assert get_source_texts(None, clips) == {}
    assert get_source_texts(config().neural_metrics.comet, clips) == {"a": "SUN"}
    prompts = config(source="encoder_prompt").neural_metrics.comet
    assert get_source_texts(prompts, clips) == {"a": "hello"}
    texts = config(source="signal").neural_metrics.comet
    assert get_source_texts(texts, [Clip("a", "test", "es regnet")]) == {"a": "es regnet"}
    listed = config(source="table", source_table=str(table)).neural_metrics.comet
    assert get_source_texts(listed, clips) == {"a": "the source"}
    table.write_text("id\ttext\na\tthe source\n")
    with pytest.raises(InputError, match="columns `id` and `source`"):
        get_source_texts(listed, clips)
    with pytest.raises((ConfigError, ValueError), match="belong together"):
        config(source="table")


def test_only_texts_to_translate_are_source_texts(tmp_path: Path) -> None:
    evaluation = {"neural_metrics": {"comet": {"model": "a/b", "source": "signal"}}}
    recipe = written_recipe(tmp_path, "text_tsv", texts(5), evaluation=evaluation)
    store = extract_locally(recipe)
    check_metrics(recipe.evaluation, store, ["train", "validation"])
    found = get_source_texts(
        recipe.evaluation.neural_metrics.comet,
        [record.clip for record in store.get_records("validation")],
    )
    assert sorted(found.values()) == sorted(texts(5)[-2:])
    with pytest.raises(ConfigError, match=r"`source.kind: text_tsv`.*not signwriting_tsv"):
        written_recipe(tmp_path, "signwriting_tsv", signed_texts(5), evaluation=evaluation)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tiny models, and the scores that the package gives them."""
    settings = pytest.MonkeyPatch()

    def make(folder: Path) -> None:
        settings.setenv("KINESWEEP_HOME", str(folder))
        find_python()

    wanted = [*comet.COMET_REQUIREMENTS, sys.prefix]
    home = cached_environment("comet", wanted, make, lambda f: (f / "environments").is_dir())
    settings.setenv("KINESWEEP_HOME", str(home))
    folder = tmp_path_factory.mktemp("models")
    script = ROOT / "tests" / "comet_models.py"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(find_python()), "-P", str(script), str(folder)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    yield folder
    settings.undo()


def find_python() -> Path:
    return get_environment_python("comet", comet.COMET_REQUIREMENTS, base=(), shares_packages=True)


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        pytest.param("regression", "yes", marks=pytest.mark.slow),
        pytest.param("referenceless", "no", marks=pytest.mark.proof),
    ],
)
def test_scores_are_those_of_the_package(models: Path, name: str, reads: str) -> None:
    expected = json.loads((models / "expected.json").read_text())
    found = compute_extra_scores(
        TEXTS, REFERENCES, config(model=str(models / name)), "cpu", SOURCES
    )
    scores = [found.clip_scores["comet"][clip_id] / 100 for clip_id in sorted(TEXTS)]
    assert scores == pytest.approx(expected[name], abs=1e-5)
    assert f"|references:{reads}|" in found.signatures["comet"]
