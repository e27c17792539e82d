"""Hugging Face models for object detection as detectors of people.

An image is scaled to a shorter side, normalized and given to the model by itself, so that its
detections do not depend on other images. Models with a class for "no object" (DETR, YOLOS) are told
from those without (RT-DETR, Deformable DETR) by the number of their outputs. The image processors
of Hugging Face are not used, because they need torchvision.

Shapes: Q queries, V labels, N detections.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from numpy.typing import NDArray
from transformers import AutoModelForObjectDetection

from kinesweep.config.recipe.features.signer_crop import HfDetectorConfig
from kinesweep.core.checkpoint_files import compute_cached_sha256
from kinesweep.core.errors import CheckpointError, InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers
from kinesweep.core.paths import is_local_path
from kinesweep.features.image_squares import resize_image

_KEY = "`features.crop.detector.pretrained`"
DETECTOR_FILES = ("config.json", "preprocessor_config.json", "*.safetensors")
"""Files of a saved model that determine its detections."""
# Numbers of ImageNet, with which the published models were trained.
_DEFAULT_MEAN, _DEFAULT_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class HfDetector:
    """A detector of people that wraps a Hugging Face model, on the CPU.

    Args:
        config: Folder or hub id, labels and threshold.

    Raises:
        InputError: If the model does not exist or has none of the labels.
        CheckpointError: If its weights do not fit.
    """

    version: ClassVar[str] = "hf-1"

    def __init__(self, config: HfDetectorConfig) -> None:
        self._config = config
        folder = resolve_detector_folder(config.pretrained)
        self._model: Any = _load_model(folder, config.pretrained)
        names = {int(index): str(name) for index, name in self._model.config.id2label.items()}
        self._label_indices = [i for i, name in names.items() if name in config.labels]
        # Otherwise every clip would be dropped as one without a signer.
        if not self._label_indices:
            raise InputError(
                f"`features.crop.detector.labels` is {', '.join(config.labels)}, but"
                f" `{config.pretrained}` detects {', '.join(list(names.values())[:20])}"
            )
        self._mean, self._std = _read_normalization(folder)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float64]]:
        """Return the detections of people in each image, (N, 5)."""
        # One by one: padding to a common size changes the detections of some models.
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the detections of people in an image, (N, 5), sorted by falling score."""
        height, width = image.shape[:2]
        scale = self._config.short_side / min(height, width)
        resized = resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))
        pixels = torch.from_numpy(resized).permute(2, 0, 1).float() / 255
        pixels = (pixels - self._mean[:, None, None]) / self._std[:, None, None]
        with torch.inference_mode():
            output = self._model(pixel_values=pixels[None])
        logits_QV, num_labels = output.logits[0].float(), len(self._model.config.id2label)
        # DETR and YOLOS add a class for `no object` and use a softmax; RT-DETR scores labels
        # separately.
        has_no_object = logits_QV.shape[1] == num_labels + 1
        scores_QV = logits_QV.softmax(-1)[:, :-1] if has_no_object else logits_QV.sigmoid()
        scores_Q = scores_QV[:, self._label_indices].max(dim=1).values.double().numpy()
        centers_Q2, sizes_Q2 = output.pred_boxes[0].double().split(2, dim=1)
        corners_Q4 = torch.cat([centers_Q2 - sizes_Q2 / 2, centers_Q2 + sizes_Q2 / 2], dim=1)
        # Boxes are shares of the image; what lies outside of it cannot be seen.
        boxes_Q4 = corners_Q4.numpy().clip(0, 1) * (width, height, width, height)
        kept = [i for i in np.argsort(-scores_Q) if scores_Q[i] >= self._config.threshold]
        return np.concatenate([boxes_Q4[kept], scores_Q[kept, None]], axis=1)


def resolve_detector_folder(name: str) -> Path:
    """Return the folder of a saved detector; a hub model is downloaded to the cache.

    Raises:
        InputError: If there is no such folder, or the model cannot be downloaded.
    """
    folder = Path(name)
    if folder.is_dir() and (folder / "config.json").is_file():
        return folder
    if folder.is_dir() or is_local_path(name):
        raise InputError(f"{_KEY} is `{name}`, which is no folder written by `save_pretrained`")
    try:
        return Path(snapshot_download(name, allow_patterns=list(DETECTOR_FILES)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, which is not a local folder and cannot be downloaded from the"
            f" hub: {format_one_line(error)}"
        ) from None


def list_detector_files(name: str) -> list[Path]:
    """List the files that determine the detections of a model, in a fixed order.

    Raises:
        InputError: If the model does not exist.
    """
    folder = resolve_detector_folder(name)
    return [path for pattern in DETECTOR_FILES for path in sorted(folder.glob(pattern))]


def compute_files_hash(name: str) -> list[str]:
    """Compute the hashes of the files of a detector.

    Raises:
        InputError: If the model does not exist.
    """
    return [compute_cached_sha256(path) for path in list_detector_files(name)]


def _load_model(folder: Path, name: str) -> Any:
    """Load a model in evaluation mode; all weights must be in the file, which is safetensors.

    Raises:
        InputError: If it is no model for object detection.
        CheckpointError: If weights are missing or have other shapes.
    """
    try:
        with silence_transformers():
            model, info = AutoModelForObjectDetection.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                # A recipe may name a model of anybody, whose code must not run.
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise InputError(
            f"{_KEY} is `{name}`, which cannot be loaded: {format_one_line(error)}"
        ) from None
    problems = [*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])]
    if problems:
        # Random values in their place would give boxes that look like boxes.
        raise CheckpointError(
            f"{_KEY} is `{name}`, whose weights lack {len(problems)} tensors or have other shapes:"
            f" {', '.join(sorted(problems)[:8])}"
        )
    return model.eval()


def _read_normalization(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the mean and the standard deviation of colors, by default those of ImageNet."""
    path = folder / "preprocessor_config.json"
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if values.get("do_normalize") is False:
        return torch.zeros(3), torch.ones(3)
    return (
        torch.tensor(values.get("image_mean", _DEFAULT_MEAN)),
        torch.tensor(values.get("image_std", _DEFAULT_STD)),
    )
