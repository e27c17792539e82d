"""A bundle as an MLflow model."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.models import Model

import kinesweep
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.evaluation.scoring import compute_scores
from kinesweep.export import (
    Bundle,
    build_mlflow_metrics,
    bundle,
    check_bundle_files,
    export_bundle,
    pyfunc_model,
)
from kinesweep.export.mlflow_flavor import make_example_frames
from kinesweep.export.pyfunc_model import _load_pyfunc

pytestmark = pytest.mark.integration

ENV = {
    "PYTHONPATH": str(Path(kinesweep.__file__).parents[1]),
    "OMP_NUM_THREADS": "1",
    # MLflow starts `uvicorn` by name.
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}


@pytest.fixture(scope="module")
def served(run, store, tmp_path_factory) -> Path:
    return export_bundle(run, tmp_path_factory.mktemp("served") / "bundle", store)


@pytest.fixture(scope="module")
def address(served: Path) -> Iterator[str]:
    """`mlflow models serve` on it, in this environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(served)]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    started = subprocess.Popen(command, env={**os.environ, **ENV}, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(started, address)
        yield address
    finally:
        os.killpg(started.pid, 15)
        started.wait(30)


def _wait(started: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(240):
        assert started.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not come up")


def ask(address: str, rows: list[dict[str, object]]) -> list[str]:
    body = json.dumps({"dataframe_records": rows}).encode()
    request = urllib.request.Request(
        f"{address}/invocations", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return [row["text"] for row in json.loads(reply.read())["predictions"]]


def given_and_wanted(
    served: Path, recipe: Recipe, run: Path
) -> tuple[list[dict[str, bytes]], list[dict[str, object]], list[str]]:
    """Three clips as files and as features, and the texts of the evaluation."""
    lines = read_predictions(run / "predictions/validation.tsv")[:3]
    root = Path(recipe.source.validation).parent
    files = [next(root.rglob(f"{line.clip_id}.pose")) for line in lines]
    poses = [{"pose": file.read_bytes()} for file in files]
    # Texts, as people write paths.
    loaded = Bundle.load(str(served))
    features = [{"features": loaded.compute_features(str(f))["pose"].tolist()} for f in files]
    return poses, features, [line.hypothesis for line in lines]


def test_it_answers_in_this_process(served, recipe, run) -> None:
    model = _load_pyfunc(str(served))
    poses, features, wanted = given_and_wanted(served, recipe, run)
    for rows in (poses, features):
        assert [answer["text"] for answer in model.predict(pd.DataFrame(rows))] == wanted
    with pytest.raises(InputError, match="finite numbers"):
        model.predict(pd.DataFrame([{"features": [[1.0, 2.0]]}]))


def test_its_example_is_made_up_and_can_be_translated(served, tmp_path) -> None:
    """MLflow finds the example and the request, the model takes it, and no clip is part of it."""
    info = Model.load(str(served))
    example = info.load_input_example(str(served))
    assert list(example.columns) == ["features"]
    (frames,) = example["features"]
    width = Bundle.load(served).loaded.features["streams"]["pose"]["width"]
    assert np.asarray(frames).shape == (8, width)
    request = json.loads((served / info.saved_input_example_info["serving_input_path"]).read_text())
    assert request["dataframe_split"]["data"] == [[frames]]
    (row,) = mlflow.pyfunc.load_model(str(served)).predict(example)
    assert isinstance(row["text"], str)
    # The same noise for every bundle of this width, whatever it was trained on.
    streams = {"pose": {"width": width, "dtype": "float32"}}
    assert make_example_frames({"pose": "features"}, streams) == {"features": frames}
    check_bundle_files(served)


@pytest.mark.parametrize(
    ("dtype", "width", "wanted"), [("uint8", 3, {0.0}), ("int32", 1, {0.0}), ("uint8", 5000, None)]
)
def test_examples_of_other_streams(dtype: str, width: int, wanted: set[float] | None) -> None:
    streams = {"a": {"width": width, "dtype": dtype}, "b": {"width": 2, "dtype": "float16"}}
    made = make_example_frames({"a": "features_a", "b": "features_b"}, streams)
    if wanted is None:
        assert made == {}
    else:
        assert set(np.ravel(made["features_a"])) == wanted
        assert np.asarray(made["features_b"]).shape == (8, 2)


@pytest.mark.slow
def test_mlflow_evaluates_it_with_our_metrics(served, recipe, run, tmp_path, monkeypatch) -> None:
    """The example of `docs/optuna.md`: MLflow's scores are those of our own evaluation."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    _, features, wanted = given_and_wanted(served, recipe, run)
    lines = read_predictions(run / "predictions/validation.tsv")[:3]
    # Not their own references, so that no score is 0 or 100.
    references = [f"{line.hypothesis} {line.references[0]}" for line in lines]
    data = pd.DataFrame({"features": [row["features"] for row in features]})
    result = mlflow.models.evaluate(
        str(served),
        data.assign(reference=references),
        targets="reference",
        predictions="text",
        extra_metrics=build_mlflow_metrics(served),
    )
    texts = {str(n): text for n, text in enumerate(wanted)}
    by_id = {str(n): [text] for n, text in enumerate(references)}
    ours = compute_scores(texts, by_id, recipe.evaluation.metrics)
    assert set(ours.values) == {"bleu", "chrf"}
    assert {name: result.metrics[name] for name in ours.values} == ours.values
    assert 0 < result.metrics["chrf"] < 100


@pytest.mark.slow
def test_it_answers_over_http(served, address, recipe, run) -> None:
    """A pose file's bytes and its features give the text of the evaluation."""
    poses, features, wanted = given_and_wanted(served, recipe, run)
    encoded = [{"pose": base64.b64encode(row["pose"]).decode()} for row in poses]
    assert ask(address, encoded) == wanted
    assert ask(address, features) == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"features": [[1.0, 2.0]]}, "finite numbers"),
        ({"pose": base64.b64encode(b"no pose").decode()}, "pose"),
    ],
)
def test_what_cannot_be_read_is_said(address: str, row: dict[str, object], wanted: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(address, [row])
    assert refused.value.code in (400, 500)
    assert wanted in refused.value.read().decode()


def test_a_bundle_of_a_gpu_is_served_without_one(served, recipe, run, tmp_path, monkeypatch):
    """The process is configured before the model is loaded, when CUDA reads its settings."""
    folder = tmp_path / "bundle"
    shutil.copytree(served, folder)
    path = folder / "recipe.yaml"
    changed = yaml.safe_load(path.read_text())
    changed["resources"] = {**changed.get("resources", {}), "gpus": 1}
    changed["training"]["precision"] = "fp16"
    path.write_text(yaml.safe_dump(changed))
    events = []
    monkeypatch.setattr(bundle, "check_bundle_files", lambda _: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    configure, load = pyfunc_model.configure_determinism, Bundle.load
    monkeypatch.setattr(
        pyfunc_model,
        "configure_determinism",
        lambda *found: events.append("configured") or configure(*found),
    )
    monkeypatch.setattr(
        Bundle, "load", lambda *found, **named: events.append("loaded") or load(*found, **named)
    )
    model = _load_pyfunc(str(folder))
    assert events == ["configured", "loaded"]
    poses, _, wanted = given_and_wanted(served, recipe, run)
    assert [answer["text"] for answer in model.predict(pd.DataFrame(poses))] == wanted
