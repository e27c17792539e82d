"""A stand-in of HybrIK, other estimators of SMPL's joints, and films of blocks; made by code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kinesweep.config.recipe.sources.estimators import HybrikEstimatorConfig

BASE = np.stack([np.arange(24) * 0.01, np.arange(24) * -0.02, np.arange(24) % 5 * 0.1], axis=1)
"""The joints that the stand-in answers, in its unit, before its weight is applied."""
UNIT_M, WEIGHT = 2.2, 0.5
_FILES = {
    "hybrik/__init__.py": "",
    "hybrik/models/__init__.py": "",
    "hybrik/utils/__init__.py": "",
    "hybrik/utils/config.py": """
import yaml


class Section(dict):
    __getattr__ = dict.__getitem__


def wrap(value):
    return Section({k: wrap(v) for k, v in value.items()}) if isinstance(value, dict) else value


def update_config(path):
    with open(path) as file:
        return wrap(yaml.safe_load(file))
""",
    "hybrik/utils/presets.py": """
import numpy as np
import torch


class SimpleTransform3DSMPLCam:
    def __init__(self, dataset, scale_factor, color_factor, occlusion, add_dpg, input_size,
                 output_size, depth_dim, bbox_3d_shape, rot, sigma, train, loss_type="MSELoss"):
        assert dataset.joint_pairs_29 is None and dataset.bbox_3d_shape == bbox_3d_shape
        assert not train and tuple(input_size) == (256, 256)

    def test_transform(self, src, bbox):
        left, top, right, bottom = bbox
        side = max(right - left, bottom - top) * 1.25
        x, y = (left + right) / 2, (top + bottom) / 2
        box = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
        center = np.array([src.shape[1] * 0.5, src.shape[0] * 0.5])
        return torch.zeros(3, 256, 256), box, center
""",
    "hybrik/models/builder.py": """
import numpy as np
import torch


class Output(dict):
    __getattr__ = dict.__getitem__


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        base = np.load("./model_files/base.npy")  # relative, as HybrIK's own paths are
        self.register_buffer("base", torch.from_numpy(base).float(), persistent=False)

    def forward(self, x, flip_test=False, **kwargs):
        assert x.shape == (1, 3, 256, 256) and flip_test and not self.training
        box, center = kwargs["bboxes"][0], kwargs["img_center"][0]
        middle = (box[:2] + box[2:]) / 2 - center
        transl = torch.stack([middle[0], middle[1], box[2] - box[0]])[None]
        joints = self.base * self.weight
        ends = joints[-1:].expand(5, 3) + 1
        return Output(
            pred_xyz_jts_24_struct=joints.reshape(1, 72),
            pred_xyz_jts_29=(torch.cat([joints, ends]) + 3).reshape(1, 87),
            transl=transl,
        )


def build_sppe(cfg):
    assert cfg.TYPE == "HRNetSMPLCam"
    return Model()
""",
    "torchvision/__init__.py": "",
    "torchvision/models/__init__.py": "",
    "torchvision/models/detection.py": """
import torch


class Detector(torch.nn.Module):
    \"\"\"A box for each color of the frame: a person, or a car (blue, the largest).\"\"\"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        boxes, labels = [], []
        for channel in range(3):
            rows, columns = torch.nonzero(images[0][channel] > 0.5, as_tuple=True)
            if len(rows):
                ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                boxes.append(torch.stack(ends).float())
                labels.append(3 if channel == 2 else 1)
        scores = torch.full((len(boxes),), 0.95) * self.weight
        boxes = torch.stack(boxes) if boxes else torch.zeros(0, 4)
        return [{"boxes": boxes, "labels": torch.tensor(labels), "scores": scores}]


def fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None):
    assert weights is None and weights_backbone is None
    return Detector()
""",
}
_CONFIG = """
DATASET: {SCALE_FACTOR: 0.3, COLOR_FACTOR: 0.2, OCCLUSION: true, ROT_FACTOR: 30}
MODEL:
  TYPE: HRNetSMPLCam
  IMAGE_SIZE: [256, 256]
  HEATMAP_SIZE: [64, 64]
  EXTRA: {DEPTH_DIM: 64, SIGMA: 2}
  BBOX_3D_SHAPE: [2200, 2200, 2200]
LOSS: {TYPE: L1LossDimSMPLCam}
"""
FUNCTION = '''
"""Joints whose coordinates are the middle of the bright pixels; NaN in dark frames."""

import numpy as np


def estimate(frames, fps, width, height, scale=1.0):
    joints = []
    for frame in frames:
        rows, columns = np.nonzero(frame.max(axis=2) > 128)
        x = (columns.mean(), rows.mean(), fps) if len(rows) else (np.nan,) * 3
        joints.append(np.array(x)[None] * scale + np.arange(24)[:, None] ** 2 * 0.1)
    return np.array(joints)


class Counting:
    def __init__(self, first):
        self.first = first

    def __call__(self, frames, fps, width, height):
        rows = [np.full((2, 22, 3), self.first + n) for n, _ in enumerate(frames)]
        return np.array(rows, float)


def wrong(frames, fps, width, height):
    return np.zeros((sum(1 for _ in frames), 17, 3))
'''


def write_hybrik(folder: Path, weight: float = WEIGHT) -> dict[str, Any]:
    """Writes HybrIK's repository with weights and returns the section of the estimator."""
    for name, text in _FILES.items():
        path = folder / "HybrIK" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = folder / "HybrIK"
    (root / "model_files").mkdir(exist_ok=True)
    np.save(root / "model_files/base.npy", BASE)
    for name in ("configs", "pretrained_models"):
        (root / name).mkdir(exist_ok=True)
    section = HybrikEstimatorConfig(folder=str(root), detector=str(root / "detector.pth"))
    (root / section.config).write_text(_CONFIG)
    checkpoint = {"model": {"weight": torch.tensor([weight])}, "epoch": 3}
    torch.save(checkpoint, root / section.checkpoint)
    torch.save({"weight": torch.ones(1)}, root / "detector.pth")
    return section.model_dump(mode="json", include={"kind", "folder", "detector"})


def write_function(folder: Path) -> dict[str, Any]:
    """Writes a function of the user and returns the section of the estimator."""
    (folder / "mine.py").write_text(FUNCTION)
    return {"kind": "python", "file": str(folder / "mine.py"), "version": "1"}


def blocks(*places: Sequence[int | None], size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """Frames with a block of 8 × 8 pixels for each color: its left edge in every frame, or None."""
    frames = np.zeros((len(places[0]), *size, 3), np.uint8)
    for color, lefts in enumerate(places):
        for number, left in enumerate(lefts):
            if left is not None:
                frames[number, 10 : 18 + 4 * (color == 2), left : left + 8, color] = 255
    return frames


def write_frames(folder: Path, frames: NDArray[np.uint8]) -> Path:
    """Writes a video as a folder of images, which have no losses."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04}.png")
    return folder
