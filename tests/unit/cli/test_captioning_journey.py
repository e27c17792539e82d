"""From a folder in the shape of HumanML3D to the caption of a file, with the tiny recipe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioned_motions import write_walkers
from kinesweep.cli import main
from kinesweep.evaluation.predictions import read_predictions

pytestmark = [pytest.mark.integration, pytest.mark.slow]
RECIPE = str(Path(__file__).parents[3] / "jobs/recipes/humanml3d_tiny.yaml")
FEW = ("training.max_steps=60", "training.eval_steps=60", "training.learning_rate=3.0e-3")


class Commands:
    """Commands in this process, with the line of JSON that each one prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> dict[str, Any]:
        with pytest.raises(SystemExit) as left:
            main([*words, "--json"])
        said = self._capsys.readouterr()
        assert (left.value.code or 0) == code, said.err
        return dict(json.loads(said.out.splitlines()[-1])) if said.out else {"error": said.err}


def test_from_a_folder_to_a_caption(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    forked_verification: None,
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KINESWEEP_HUMANML3D", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    call, root = Commands(capsys), str(write_walkers(tmp_path))
    prepared = call("prepare", "humanml3d", root, root)
    assert prepared["clips"] == {"train": 32, "validation": 8, "test": 8}
    assert prepared["source_options"]["skeleton"] == "humanml3d_22"
    assert call("check", RECIPE)["problems"] == []
    trained = call("train", RECIPE, "--no-ray", *FEW)
    assert trained["status"] == "finished"
    scored = call("evaluate", trained["folder"], "--split", "validation")
    assert scored["scores"]["caption_cider"] > 100 and scored["scores"]["tm2t_bleu_1"] > 20
    predictions = read_predictions(Path(trained["folder"]) / "predictions/validation.tsv")
    assert {len(found.references) for found in predictions} == {1, 2}
    said = {found.clip_id: found.hypothesis for found in predictions}
    call("export", trained["folder"], "bundle")
    cut = np.load(tmp_path / "new_joints/000004.npy")[10:55]
    np.save(tmp_path / "part.npy", cut)
    for name, clip_id in (("new_joints/000004.npy", "000004"), ("part.npy", "000004@10-55")):
        found = call("translate", "bundle", name)
        assert found[name] == said[clip_id]
