"""Everything that runs a trained model puts it on the device that was asked for."""

import json
import shutil
from dataclasses import dataclass

import pytest
import torch

import kinesweep
from kinesweep.checkpoints import model_dir
from kinesweep.cli import main
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.export import export_bundle
from kinesweep.export.raw_features import _place_video_model
from kinesweep.pipelines.dry_run import dry_run_evaluation
from kinesweep.pipelines.sweeps.winner import evaluate_winner_on_test
from kinesweep.training.reproducibility import inference_device

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(made, run, store, tmp_path_factory):
    return export_bundle(run, tmp_path_factory.mktemp("bundle") / "bundle", store)


@pytest.fixture
def devices(monkeypatch):
    """The devices of the models that are loaded, on a machine with a GPU by name alone."""
    found: list[str] = []
    load = model_dir._load_translator

    def load_on_cpu(folder, device):
        found.append(str(device))
        return load(folder, "cpu")

    monkeypatch.setattr(model_dir, "_load_translator", load_on_cpu)
    monkeypatch.setattr(inference_device, "configure_kernels", lambda **_: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    return found


def command(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert not left.value.code


@dataclass
class Winner:
    winner_runs: list[str]


def call(what: str, made, bundle, store, tmp_path, device: str) -> None:
    clip = next((made / "corpus").rglob("*.pose"))
    option = [] if device == "auto" else ["--device", device]
    chosen = {} if device == "auto" else {"device": device}
    root = f"store.root={store.folder.parent}"
    page = ("--out", tmp_path / "page.html", *option)
    {
        "translate": lambda: command("translate", bundle, clip, *option),
        "embed": lambda: command("embed", bundle, clip, "--out", tmp_path / "vectors", *option),
        "evaluate": lambda: command("evaluate", bundle, root, *option),
        "attention of a file": lambda: command("attention", bundle, clip, *page),
        "attention of a run": lambda: command("attention", made / "run", clip, *page),
        "attention of a store": lambda: command(
            *("attention", bundle, "validation_00000", "--store", store.folder, *page)
        ),
        "load_bundle": lambda: kinesweep.load_bundle(bundle, **chosen),
        "api.evaluate": lambda: kinesweep.evaluate(bundle, overrides=[root], **chosen),
        "dry run": lambda: dry_run_evaluation(bundle, "validation", [root], **chosen),
    }[what]()


USES = [
    *("translate", "embed", "evaluate", "attention of a file", "attention of a run"),
    *("attention of a store", "load_bundle", "api.evaluate", "dry run"),
]


@pytest.mark.parametrize("what", USES)
def test_the_gpu_is_used_where_there_is_one(
    what, made, place, store, tmp_path, devices, monkeypatch
):
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    for device, used in [("auto", "cuda"), ("cpu", "cpu"), ("cuda:1", "cuda:1")]:
        call(what, made, place, store, tmp_path / device.replace(":", ""), device)
        assert devices == [used], what
        devices.clear()


def test_the_winner_is_tested_on_the_gpu(run, store, devices, tmp_path):
    copy = tmp_path / "tiny-0123456789ab-s1"
    shutil.copytree(run, copy)
    assert evaluate_winner_on_test(Winner([str(copy)]), store)  # type: ignore[arg-type]
    assert devices == ["cuda"]


def test_stdout_holds_the_texts_alone(made, place, capsys):
    clip = next((made / "corpus").rglob("*.pose"))
    command("translate", place, clip, "--json")
    told = capsys.readouterr()
    assert "device: cpu\n" in told.err and "device" not in told.out
    (name, text), result = told.out.splitlines()[0].split("\t"), told.out.splitlines()[1]
    assert json.loads(result) == {name: text}


def test_a_bundle_of_a_gpu_reads_videos_without_one(monkeypatch):
    """Unlike an extraction, which is refused: a bundle is used on any machine."""
    features = VideoFeaturesConfig.model_validate(
        {"kind": "video", "gpus": 1, "encoder": {"kind": "hf_vision", "pretrained": "nowhere"}}
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("auto", "cpu"):
        assert _place_video_model(features, name) == features.model_copy(update={"gpus": 0.0})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _place_video_model(features, "auto").gpus == 1
    assert _place_video_model(features, "cpu").gpus == 0
