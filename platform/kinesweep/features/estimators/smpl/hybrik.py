"""HybrIK (Li et al., CVPR 2021): a person is found in each frame, and SMPL's joints are estimated.

HybrIK is not a package of an index: its repository is a folder, from which it is imported and from
which it reads `model_files/`, so it is built with that folder as the working directory. The steps
are those of its `scripts/demo_video.py`; other than there, only boxes of people are considered, and
frames without a person are missing instead of left out.

Shapes: P people, K joints.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kinesweep.features.estimators.smpl.person_boxes import PersonTracker
from kinesweep.features.estimators.smpl.smpl_pose import build_smpl_pose

_PERSON_LABEL = 1
"""Label of people in COCO, on which torchvision's detector was trained."""
_INPUT_PX = 256.0
"""Side in pixels of the crop that HybrIK's camera refers to; its focal length there is 1000."""
_OUTPUTS = {"struct": "pred_xyz_jts_24_struct", "regressed": "pred_xyz_jts_29"}
_DEFAULT_SHAPE_MM = (2000, 2000, 2000)
"""HybrIK's default of `MODEL.BBOX_3D_SHAPE`; its third value is the unit of all joints."""


class Hybrik:
    """The estimator `hybrik`; its arguments are the settings of `HybrikEstimatorConfig`.

    Args:
        folder: Folder of HybrIK's repository.
        config: HybrIK's configuration, relative to the folder.
        checkpoint: HybrIK's weights, relative to the folder.
        detector: Weights of the detector, or None for those that torchvision downloads.
        detector_threshold: Least score of a person who was not followed before.
        people: Largest number of people.
        joints: `struct` or `regressed`.
        position: `camera` or `root`.
        unit: `m` or `hybrik`.
        flip_test: Whether to average with the estimate of the mirrored image.
    """

    version: ClassVar[str] = "hybrik-1"
    requirements: ClassVar[tuple[str, ...]] = ()

    def __init__(  # noqa: PLR0913 (the keys of its section)
        self,
        *,
        folder: str,
        config: str,
        checkpoint: str,
        detector: str | None = None,
        detector_threshold: float = 0.9,
        people: int = 1,
        joints: str = "struct",
        position: str = "camera",
        unit: str = "m",
        flip_test: bool = True,
    ) -> None:
        # Before HybrIK is imported, whose modules import `chumpy`.
        _restore_removed_names()
        detector_path = None if detector is None else str(Path(detector).absolute())
        with _working_directory(Path(folder)):
            import torch

            self._torch: Any = torch
            self._device = "cuda" if torch.cuda.is_available() else "cpu"
            self._transform, self._model, self._unit_m = _load_hybrik(
                torch, config, checkpoint, self._device
            )
            self._detector = _load_detector(torch, detector_path, self._device)
        self._people, self._threshold = people, detector_threshold
        self._output, self._flip_test = _OUTPUTS[joints], flip_test
        self._in_camera = position == "camera"
        self._per_m = 1.0 if unit == "m" else 1 / self._unit_m

    def __call__(
        self, frames: Iterable[NDArray[np.uint8]], fps: float, width: int, height: int
    ) -> Any:
        """Estimate the joints of one video and return them as a `pose_format.Pose`.

        Args:
            frames: RGB frames of the video.
            fps: Frames per second.
            width: Width of the frames in pixels.
            height: Height of the frames in pixels.
        """
        tracker = PersonTracker(self._people, self._threshold)
        frame_joints: list[list[NDArray[np.float32] | None]] = []
        with self._torch.no_grad():
            for image in frames:
                boxes = tracker.update(*self._detect_people(image))
                frame_joints.append(
                    [None if box is None else self._estimate_joints(image, box) for box in boxes]
                )
        # At least one: a pose without people could not say that somebody is missing.
        num_people = max([1, *map(len, frame_joints)])
        # Known without a frame, because a video may show nobody.
        num_joints = 29 if self._output == _OUTPUTS["regressed"] else 24
        joints_TPKC = np.full((len(frame_joints), num_people, num_joints, 3), np.nan, np.float32)
        for row_PKC, people in zip(joints_TPKC, frame_joints, strict=True):
            for index, joints in enumerate(people):
                row_PKC[index] = np.nan if joints is None else joints
        return build_smpl_pose(joints_TPKC, fps, width, height)

    def _detect_people(self, image: NDArray[np.uint8]) -> tuple[list[list[float]], list[float]]:
        """Return the boxes of the people in an image, and their scores."""
        pixels = self._torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        found = self._detector([pixels.to(self._device)])[0]
        is_person = (found["labels"] == _PERSON_LABEL).cpu().numpy()
        boxes, scores = found["boxes"].cpu().numpy(), found["scores"].cpu().numpy()
        return boxes[is_person].tolist(), scores[is_person].tolist()

    def _estimate_joints(
        self, image: NDArray[np.uint8], box: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Estimate the joints of the person in a box, (K, 3)."""
        as_batch = self._torch.as_tensor
        pixels, model_box, center = self._transform.test_transform(image, box.tolist())
        output = self._model(
            pixels.to(self._device)[None],
            flip_test=self._flip_test,
            bboxes=as_batch(np.array(model_box), device=self._device).float()[None],
            img_center=as_batch(np.array(center), device=self._device).float()[None],
        )
        joints_KC = output[self._output].reshape(-1, 3).cpu().numpy() * self._unit_m
        if not self._in_camera:
            # The first joint is the pelvis, the root of SMPL.
            return np.asarray((joints_KC - joints_KC[:1]) * self._per_m, np.float32)
        translation = output["transl"].reshape(3).cpu().numpy()
        # The camera of the crop has the focal length 1000 · side / 256 in pixels of the image. The
        # depth is converted to one focal length, so that it does not jump with the size of the box.
        scale = np.array([1, 1, _INPUT_PX / float(model_box[2] - model_box[0])])
        return np.asarray((joints_KC + translation * scale) * self._per_m, np.float32)


def _load_hybrik(torch: Any, config: str, checkpoint: str, device: str) -> tuple[Any, Any, float]:
    """Load HybrIK from the working directory.

    Returns:
        Transform of images, model, and the unit of its joints in meters.
    """
    builder = importlib.import_module("hybrik.models.builder")
    presets = importlib.import_module("hybrik.utils.presets")
    cfg = importlib.import_module("hybrik.utils.config").update_config(config)
    shape_m = [side * 1e-3 for side in getattr(cfg.MODEL, "BBOX_3D_SHAPE", _DEFAULT_SHAPE_MM)]
    transform = presets.SimpleTransform3DSMPLCam(
        _EmptyDataset(shape_m),
        scale_factor=cfg.DATASET.SCALE_FACTOR,
        color_factor=cfg.DATASET.COLOR_FACTOR,
        occlusion=cfg.DATASET.OCCLUSION,
        input_size=cfg.MODEL.IMAGE_SIZE,
        output_size=cfg.MODEL.HEATMAP_SIZE,
        depth_dim=cfg.MODEL.EXTRA.DEPTH_DIM,
        bbox_3d_shape=shape_m,
        rot=cfg.DATASET.ROT_FACTOR,
        sigma=cfg.MODEL.EXTRA.SIGMA,
        train=False,
        add_dpg=False,
        loss_type=cfg.LOSS["TYPE"],
    )
    model = builder.build_sppe(cfg.MODEL)
    # Weights only: a checkpoint is a pickle, which could otherwise run code.
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state.get("model", state))
    return transform, model.to(device).eval(), shape_m[2]


def _load_detector(torch: Any, weights: str | None, device: str) -> Any:
    """Load torchvision's detector, from a file of weights if there is one."""
    detection = importlib.import_module("torchvision.models.detection")
    if weights is None:
        return detection.fasterrcnn_resnet50_fpn(weights="DEFAULT").to(device).eval()
    model = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.to(device).eval()


class _EmptyDataset:
    """What HybrIK's transform asks of a data set; a video has no pairs of joints to mirror."""

    joint_pairs_17 = joint_pairs_24 = joint_pairs_29 = None

    def __init__(self, shape_m: list[float]) -> None:
        self.bbox_3d_shape = shape_m


def _restore_removed_names() -> None:
    """Restore names that `chumpy`, which reads SMPL's file, imports and newer versions removed."""
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = inspect.getfullargspec  # type: ignore[attr-defined]
    kinds = {"bool": bool, "int": int, "float": float, "complex": complex}
    for name, kind in {**kinds, "object": object, "unicode": str, "str": str}.items():
        if name not in vars(np):
            setattr(np, name, kind)


@contextmanager
def _working_directory(folder: Path) -> Iterator[None]:
    """Change to a folder from which modules can be imported, and back afterwards."""
    previous = Path.cwd()
    os.chdir(folder)
    # First, so that an installed package of the same name is not taken.
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        # Imports within functions of HybrIK come later, so the folder stays in the search path.
        os.chdir(previous)
