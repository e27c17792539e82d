"""Tiny video models with random weights, and corpora of little films; made by code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus import tiny_recipe
from films import write_video
from kinesweep.config.recipe import Recipe

SIZE = 16
_SAID = {
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "size": {"height": SIZE, "width": SIZE},
}


def vision_model(folder: Path, kind: str, size: int = SIZE, width: int = 16) -> Path:
    """Saves a DINOv2 (`dinov2`) or a VideoMAE of 16 frames (`videomae`)."""
    import transformers as hf

    torch.manual_seed(5)
    shape: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": size,
        "patch_size": 8,
        "initializer_range": 0.4,
    }
    if kind == "videomae":
        made = hf.VideoMAEModel(hf.VideoMAEConfig(**shape, num_frames=16))
    else:
        made = hf.Dinov2Model(hf.Dinov2Config(**shape))
    made.save_pretrained(folder)
    said = {**_SAID, "size": {"height": size, "width": size}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


def yolos(folder: Path) -> Path:
    """Saves a detector from scratch with the labels `car` and `person`."""
    import transformers as hf

    torch.manual_seed(4)
    config = hf.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[48, 64],
        patch_size=16,
        num_detection_tokens=4,
        initializer_range=1.0,
        id2label={0: "car", 1: "person"},
    )
    hf.YolosForObjectDetection(config).save_pretrained(folder)
    return folder


def follow_block(path: Path, count: int, step: int = 1, size: tuple[int, int] = (64, 48)) -> Path:
    """The `.pose` file of a film of `films.pictures`, of every `step`-th frame, at 25 / step fps.

    Face, left and right hand are two points each, whose square has 16 pixels: about the block,
    its right half and its lower edge.
    """
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    path.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{part}_LANDMARKS" for part in ("FACE", "LEFT_HAND", "RIGHT_HAND")]
    parts = [PoseHeaderComponent(name, ["a", "b"], [], [], "XYZC") for name in names]
    middles = np.array([(4, 12), (14, 12), (4, 22)], np.float32)
    points = np.zeros((len(range(0, count, step)), 1, 6, 3), np.float32)
    for row, number in enumerate(range(0, count, step)):
        for place, middle in enumerate(middles + np.array((2 * number, 0))):
            points[row, 0, 2 * place, :2] = middle - 5.7
            points[row, 0, 2 * place + 1, :2] = middle + 5.7
    body = NumPyPoseBody(25 / step, points, np.ones(points.shape[:3], np.float32))
    with path.open("wb") as file:
        PoseHeader(0.2, PoseHeaderDimensions(*size, 0), parts).write(file)
        body.write(0.2, file)
    return path


def film_corpus(folder: Path, **counts: int) -> Path:
    """`film_corpus(path, train=3, test=1)`: films of 10 to 60 frames, no two alike, and tables."""
    number = 0
    for split, count in counts.items():
        lines = ["signal\toutput"]
        for _ in range(count):
            frames = 10 + (number * 17) % 50
            write_video(folder / "films" / f"{number}.mp4", frames, width=128 + 16 * number)
            lines.append(f"films/{number}.mp4\tThis is film {number}.")
            number += 1
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def film_recipe(corpus: Path, model: Path, root: Path, **changes: Any) -> Recipe:
    """The tiny recipe on films: DINOv2 on every frame, or VideoMAE on half-overlapping windows."""
    video = "videomae" in model.name
    windows = {"num_frames": 16, "stride": 8 if video else 16}
    splits = ["train", "validation", *(["test"] if (corpus / "test.tsv").is_file() else [])]
    tables = {split: str(corpus / f"{split}.tsv") for split in splits}
    features = {
        "kind": "video",
        "encoder": {"kind": "hf_vision", "pretrained": str(model)},
        "windows": windows,
        "batch": 3,
    }
    features |= changes.pop("features", {})
    sources = changes.pop("source", {})
    base = tiny_recipe(corpus, root, **changes).model_dump(mode="json")
    source = {"kind": "video_tsv", **tables, **sources}
    base |= {"source": source, "features": features}
    return Recipe.model_validate(base)
