"""From poses of 133 points to a translated file, with the keypoints and part graphs of Uni-Sign."""

from pathlib import Path

import numpy as np
import pytest

import kinesweep as ks
from kinesweep.evaluation.predictions import read_predictions
from kinesweep.features.estimators.external_outputs.point_layouts import MMPOSE
from kinesweep.sweeps.space.loading import load_space
from poses import pose_file

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "jobs/recipes/uni_sign_tiny.yaml"
WORDS = ("yes", "no", "come", "go")
FEW = ["training.max_steps=16", "training.eval_steps=16", "training.warmup_steps=2"]


def write_corpus(folder: Path) -> None:
    """Clips of 133 points whose right hand moves in a way of each word; two files have no hand."""
    layout = [(part.name, tuple(part.points)) for part in MMPOSE[133].make_components()]
    names = [name for name, points in layout for _ in points]
    right = np.array([name == layout[-1][0] for name in names])
    draws = np.random.default_rng(3)
    base_JC = draws.uniform(100, 400, (133, 2))
    for split, count in (("train", 24), ("validation", 8), ("test", 8)):
        rows = ["signal\tsignal_start\tsignal_end\tencoder_prompt\tdecoder_prompt\toutput"]
        for index in range(count):
            word = index % len(WORDS)
            time_T = np.linspace(0, 2 * np.pi, 14 + index % 5)
            x_TJC = np.repeat(base_JC[None], len(time_T), axis=0)
            x_TJC += draws.normal(0, 1, x_TJC.shape)
            x_TJC[:, right, word % 2] += 40 * np.sin((1 + word // 2) * time_T)[:, None]
            confidence_TPJ = np.full((len(time_T), 1, 133), 0.9, np.float32)
            confidence_TPJ[:, 0, right] = 0.0 if index == 5 else 0.8
            content = pose_file(
                x_TJC[:, None].astype(np.float32), confidence_TPJ, components=tuple(layout)
            )
            (folder / f"{split}{index}.pose").write_bytes(content)
            rows.append(f"{split}{index}.pose\t0\t0\t\t\t{WORDS[word]}")
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")


@pytest.mark.integration
def test_from_poses_to_a_translated_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_verification: None
) -> None:
    monkeypatch.setenv("KINESWEEP_WHOLEBODY", str(tmp_path))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    write_corpus(tmp_path)
    recipe = ks.load_recipe(RECIPE, FEW)
    assert not ks.check(recipe).problems
    store = ks.extract(recipe, on_ray=False)
    assert store.schema.streams["pose"].width == 69 * 3
    result = ks.train(recipe, on_ray=False)
    ks.export_bundle(result.folder, tmp_path / "bundle")
    said = read_predictions(result.folder / "predictions/validation.tsv")
    files = [tmp_path / f"{found.clip_id}.pose" for found in said]
    texts = ks.load_bundle(tmp_path / "bundle").translate(files)
    assert texts == [found.hypothesis for found in said]


def test_the_kind_of_graph_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINESWEEP_WHOLEBODY", str(tmp_path))
    space, recipe = load_space(ROOT / "search_spaces/part_graph.yaml", (), ROOT)
    levels = space.parameters["model.encoder.kind"].choices
    assert tuple(levels or ()) == ("linear", "stgcn", "part_graph")
    assert recipe.model.encoder.kind == "part_graph"
