"""Every settings file in the layout of MultimodalHugs' repositories converts, or says why not."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinesweep.config.loading import read_yaml, validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.run_length.step_counts import resolve_training
from kinesweep.interop.multimodalhugs_config import convert_settings, convert_to_values
from kinesweep.store.format.index import ClipRecord
from records import memory_store
from trainer_steps import count_trainer_steps

FOLDER = Path(__file__).parent / "multimodalhugs"
KINDS = {
    "image2text_first": ("text_tsv", "images"),
    "image2text_2025": ("text_tsv", "images"),
    "hebrew_slots": ("text_tsv", "images"),
    "overfitting": ("text_tsv", "images"),
    "signbankplus_first": ("signwriting_tsv", "images"),
    "signbankplus_debug": ("signwriting_tsv", "images"),
    "signwriting_2025": ("signwriting_tsv", "images"),
    "signbankplus_slots": ("signwriting_tsv", "images"),
    "pose2text_first": ("pose_tsv", "pose"),
    "how2sign_2025": ("pose_tsv", "pose"),
    "phoenix": ("pose_tsv", "pose"),
    "pipelines_template": ("pose_tsv", "pose"),
    "poses_how2sign": ("pose_tsv", "pose"),
    "augmented_slots": ("pose_tsv", "pose"),
    "features_how2sign": ("feature_tsv", "precomputed"),
    "video_how2sign": ("video_tsv", "frames"),
    "text2text": ("text_tsv", "text"),
}
REFUSED = {
    "model_only": "no table of a split",
    "model_only_first": "no table of a split",
    "accelerate_layers": r"`training.fsdp: true`.*\(its `num_processes`, 4\).*\(bf16\)",
    "accelerate_sizes": "a file of accelerate",
}


def write(tmp_path: Path, settings: dict[str, Any]) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_every_file_is_expected() -> None:
    expected = {*KINDS, *REFUSED, "two_inputs"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == expected


@pytest.mark.parametrize("name", KINDS)
def test_a_file_becomes_a_recipe(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    converted = convert_to_values(path)
    source, features = converted.values["source"], converted.values["features"]
    assert (source["kind"], features["kind"]) == KINDS[name]
    assert {"train", "validation"} <= source.keys()
    assert not [text for text in converted.unconverted.values() if "unknown key" in text]
    assert validate_config(Recipe, converted.values, name).source.train == source["train"]


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_describe_no_training_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        convert_to_values(FOLDER / f"{name}.yaml")


SLOT_STRUCTURE = {"processor_class", "output_data_key", "output_mask_key", "is_label", "role"}
"""Keys that say what a slot is; `signal` and its kin are names of columns."""


def list_leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    leaves: list[tuple[Any, ...]] = []
    for key, child in items:
        if key in SLOT_STRUCTURE or key == "column_map":
            continue
        nested = isinstance(child, dict | list) and child
        leaves += list_leaves(child, (*path, key)) if nested else [(*path, key)]
    return leaves


def change_leaf(settings: dict[str, Any], path: tuple[Any, ...]) -> None:
    *parents, key = path
    for parent in parents:
        settings = settings[parent]
    value = settings[key]
    if isinstance(value, bool):
        settings[key] = not value
    elif isinstance(value, int | float):
        settings[key] = value + 2
    else:
        settings[key] = f"{value or ''}changed"


@pytest.mark.parametrize("name", [*KINDS, "two_inputs"])
def test_nothing_is_dropped_in_silence(name: str) -> None:
    """Another value of any key gives another recipe or another report."""
    path = FOLDER / f"{name}.yaml"
    settings = read_yaml(path)
    whole = convert_settings(deepcopy(settings), path, None)
    for leaf in list_leaves(settings):
        changed = deepcopy(settings)
        change_leaf(changed, leaf)
        try:
            assert convert_settings(changed, path, None) != whole, leaf
        except InputError as error:
            assert str(leaf[-1]) in str(error)


def test_unknown_keys_are_reported(tmp_path: Path) -> None:
    settings = yaml.safe_load((FOLDER / "phoenix.yaml").read_text())
    settings |= {"extra": {"key": 1}}
    settings["training"]["made_up"] = 1
    found = convert_to_values(write(tmp_path, settings)).unconverted
    assert "an unknown key" in found["training.made_up"] and "an unknown key" in found["extra"]


def test_values_arrive(tmp_path: Path) -> None:
    """The figures of three files, by hand."""
    video = convert_to_values(FOLDER / "video_how2sign.yaml").values
    assert video["features"] == {"kind": "frames", "target_fps": 25.0, "size": 224}
    assert video["model"]["vision"] == {
        "kind": "hf",
        "freeze": False,
        "pretrained": "openai/clip-vit-base-patch32",
        "pool": "first",
        "windows": {"target_fps": 25.0},
    }
    assert video["generation"] == {"max_new_tokens": 100}
    assert (video["batch"]["batch_size"], video["batch"]["max_clip_frames"]) == (2, 700)
    augmented = convert_to_values(FOLDER / "augmented_slots.yaml")
    assert augmented.values["features"] == {"kind": "pose", "points": "holistic_178", "stride": 2}
    batch = augmented.values["batch"]
    assert (batch["augmentation"], batch["max_clip_frames"]) == ({"noise": 0.005}, 151)
    assert augmented.values["checkpoints"] == {"keep": "last"}
    assert augmented.values["tracking"] == "none"
    left = augmented.unconverted["processor.input_frames.data_augmentation_types"]
    assert "appearance_transfer" in left and "gaussian_noise'" not in left
    scratch = convert_to_values(FOLDER / "overfitting.yaml")
    vision = scratch.values["model"]["vision"]["scratch"]
    assert (vision["model_type"], vision["num_hidden_layers"]) == ("clip_vision_model", 8)
    assert "max_length" in scratch.unconverted["model.feature_extractor_config"]


def test_several_inputs_become_parts() -> None:
    values = convert_to_values(FOLDER / "two_inputs.yaml").values
    assert (values["source"]["kind"], values["source"]["column"]) == ("video_tsv", "video_signal")
    video, pose = values["features"]
    assert (video["name"], video["kind"], video["target_fps"]) == ("video", "frames", 12.5)
    assert (pose["name"], pose["kind"], pose["column"]) == ("pose", "pose", "pose_signal")
    assert values["model"]["vision"]["freeze"] is True
    recipe = validate_config(Recipe, values, "the recipe")
    assert recipe.features.streams == ("video", "pose")


def test_the_task_can_be_given(tmp_path: Path) -> None:
    settings = yaml.safe_load((FOLDER / "features_how2sign.yaml").read_text())
    del settings["processor"]["use_cache"]
    path = write(tmp_path, settings)
    assert convert_to_values(path).values["source"]["kind"] == "pose_tsv"
    features = convert_to_values(path, "features2text").values["source"]
    assert (features["kind"], features["time_axis"]) == ("feature_tsv", 0)
    settings["model"]["feature_extractor_type"] = "clip"
    path = write(tmp_path, settings)
    with pytest.raises(InputError, match="pass `--modality video2text`"):
        convert_to_values(path)
    with pytest.raises(InputError, match="no input has images"):
        convert_to_values(path, "features2text")
    del settings["model"]["feature_extractor_type"]
    with pytest.raises(InputError, match="raw pixels"):
        convert_to_values(write(tmp_path, settings), "video2text")


@pytest.mark.parametrize(
    ("training", "num_workers"),
    [
        ({"num_train_epochs": 2.5, "gradient_accumulation_steps": 3, "warmup_ratio": 0.1}, 1),
        ({"num_train_epochs": 7, "dataloader_drop_last": True}, 2),
        ({"per_device_train_batch_size": 5}, 1),
        ({"num_train_epochs": 4, "max_steps": 33, "warmup_steps": 4, "warmup_ratio": 0.5}, 3),
        ({"num_train_epochs": 0.3, "max_steps": -1, "per_device_train_batch_size": 1}, 1),
    ],
)
def test_steps_are_those_of_the_trainer(
    tmp_path: Path, training: dict[str, Any], num_workers: int
) -> None:
    """Epochs, ratios and their defaults give the steps that the trainer itself counts."""
    settings = yaml.safe_load((FOLDER / "phoenix.yaml").read_text())
    path = write(tmp_path, {**settings, "training": {**training, "eval_strategy": "epoch"}})
    recipe = validate_config(Recipe, convert_to_values(path).values, "the recipe")
    clips = [ClipRecord(Clip(str(n), "train", ("a",)), {"pose": 9}) for n in range(83)]
    store = memory_store(*clips)
    store.fingerprint = "83 clips"
    resolved = resolve_training(recipe, store, num_workers)
    # Version 5 of transformers has one argument for both: steps, or below 1 a ratio.
    arguments = {key: value for key, value in training.items() if key != "warmup_ratio"}
    arguments.setdefault("warmup_steps", training.get("warmup_ratio", 0))
    found = count_trainer_steps(arguments, len(clips), num_workers, tmp_path)
    assert (resolved.max_steps, resolved.warmup_steps) == found
    assert resolved.eval_steps == resolved.steps_per_epoch


@pytest.mark.parametrize(
    ("training", "interval"),
    [
        ({"eval_strategy": "steps", "eval_steps": 0.25, "max_steps": 10}, {"eval_steps": 3}),
        (
            {"eval_strategy": "steps", "eval_steps": 0.5, "num_train_epochs": 3},
            {"eval_epochs": 1.5},
        ),
        ({"eval_strategy": "steps", "logging_steps": 7}, {"eval_steps": 7}),
        ({"eval_strategy": "steps"}, {"eval_steps": 500}),
        ({"save_steps": 70}, {"eval_steps": 70}),
    ],
)
def test_intervals_of_evaluations(
    tmp_path: Path, training: dict[str, Any], interval: dict[str, Any]
) -> None:
    settings = yaml.safe_load((FOLDER / "phoenix.yaml").read_text())
    found = convert_to_values(write(tmp_path, {**settings, "training": training})).values
    keys = ("eval_steps", "eval_epochs")
    assert {key: found["training"][key] for key in keys if key in found["training"]} == interval


@pytest.mark.parametrize(
    ("report_to", "tracking"),
    [("none", "none"), ("wandb", "wandb"), (["tensorboard", "mlflow"], ["tensorboard", "mlflow"])],
)
def test_trackers(tmp_path: Path, report_to: Any, tracking: Any) -> None:
    settings = yaml.safe_load((FOLDER / "phoenix.yaml").read_text())
    settings["training"] |= {"report_to": report_to, "metric_name": "bleu,wer"}
    converted = convert_to_values(write(tmp_path, settings))
    assert converted.values["tracking"] == tracking
    extra = {"kind": "evaluate", "name": "wer", "mode": "min"}
    assert converted.values["evaluation"] == {"metrics": ["bleu"], "extra_metrics": [extra]}
    assert any("`wer`" in note and "trust_remote_code" in note for note in converted.notes)
    assert validate_config(Recipe, converted.values, "the recipe").evaluation.extra_metrics
