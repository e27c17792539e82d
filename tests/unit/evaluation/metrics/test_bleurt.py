"""BLEURT checkpoints of the package bleurt-pytorch, against the package's own scores."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from environments import ROOT
from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics import compute_extra_scores
from kinesweep.features.estimators.virtualenv import get_environment_python

GOLDEN = ROOT / "tests" / "golden" / "bleurt"
SPEC = importlib.util.spec_from_file_location("tiny_bleurt", GOLDEN / "tiny.py")
assert SPEC is not None and SPEC.loader is not None
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def scored(model: Path) -> list[float]:
    """Scores of the pairs, one clip each, in the package's scale."""
    config = EvaluationConfig.model_validate({"neural_metrics": {"bleurt": str(model)}})
    texts = {str(i): hypothesis for i, (_, hypothesis) in enumerate(tiny.PAIRS)}
    references = {str(i): (reference,) for i, (reference, _) in enumerate(tiny.PAIRS)}
    found = compute_extra_scores(texts, references, config)
    assert found.values["bleurt"] == pytest.approx(sum(found.clip_scores["bleurt"].values()) / 5)
    return [found.clip_scores["bleurt"][str(i)] / 100 for i in range(len(tiny.PAIRS))]


@pytest.mark.parametrize("kind", ["wide", "plain"])
def test_scores_are_those_of_the_package(tmp_path: Path, kind: str) -> None:
    found = scored(tiny.write(tmp_path / kind, kind))
    assert found == pytest.approx(EXPECTED[kind], abs=1e-5)
    assert max(found) - min(found) > 0.1


def test_weights_in_torchs_own_format(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "wide", "wide")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert scored(folder) == pytest.approx(EXPECTED["wide"], abs=1e-5)


def test_a_weight_that_is_missing(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "wide", "wide")
    state = load_file(folder / "model.safetensors")
    del state["bleurt.encoder.embedding_projection.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lack `rembert.encoder.embedding_hidden_mapping_in"):
        scored(folder)


def test_a_vocabulary_without_the_special_tokens(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "wide", "wide")
    (folder / "tokenizer_config.json").write_text(json.dumps({"sep_token": "<end>"}))
    with pytest.raises(InputError, match="lacks the token `<end>`"):
        scored(folder)


@pytest.mark.proof
def test_the_package_gives_the_pinned_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path))
    packages = ("bleurt-pytorch==0.0.1", "transformers<5")
    python = get_environment_python("bleurt", packages, base=(), shares_packages=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), str(GOLDEN / "generate.py"), str(tmp_path / "found.json")]
    subprocess.run(command, check=True, env=environment)
    found = json.loads((tmp_path / "found.json").read_text())
    for kind, scores in EXPECTED.items():
        assert found[kind] == pytest.approx(scores, abs=1e-5)
