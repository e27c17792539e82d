"""Detectors of people: the protocol, the kinds, and what identifies one.

A detector is a class with a `version`, created with its settings once per process; packages add
theirs through the entry-point group `kinesweep.detectors`.

Shapes: N boxes of an image; a detection is left, top, right, bottom in pixels, and a score.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.features.signer_crop import (
    DetectorConfig,
    HfDetectorConfig,
    PluginDetectorConfig,
)
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_fingerprint

ENTRY_POINT_GROUP = "kinesweep.detectors"


class Detector(Protocol):
    """A detector of people in images.

    Attributes:
        version: Version of everything that affects detections: code, weights and settings.
    """

    version: ClassVar[str]

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.float64]]:
        """Return the detections in each image, (N, 5), independent of the other images.

        Args:
            images: Frames of a video, uint8 RGB (H, W, 3).
        """


def compute_detector_fingerprint(config: DetectorConfig) -> str:
    """Compute a hash of what determines the detections of a detector, 64 hexadecimal digits.

    The files of a hub model are downloaded for it.

    Raises:
        InputError: If its files do not exist, or there is no such plug-in.
    """
    # A model that was moved or downloaded elsewhere gives the same detections.
    settings = config.model_dump(mode="json", exclude={"pretrained"})
    if isinstance(config, HfDetectorConfig):
        from kinesweep.features.signer_crop.hf_detector import compute_files_hash

        return compute_fingerprint([settings, compute_files_hash(config.pretrained)])
    return compute_fingerprint([settings, _find_plugin_class(config).version])


@lru_cache(maxsize=2)
def _build_cached(section: str) -> Detector:
    """Build the detector of settings as JSON, which can be the key of a cache."""
    from kinesweep.config.recipe.features.signer_crop import SignerCropConfig

    config = SignerCropConfig.model_validate_json(f'{{"detector": {section}}}').detector
    assert config is not None
    return _BUILDERS[config.kind](config)


def build_detector(config: DetectorConfig) -> Detector:
    """Build the detector that `config.kind` names; each process keeps the two it used last.

    Raises:
        InputError: If its files do not exist, it has no such label, or there is no such plug-in.
        CheckpointError: If its weights do not fit.
    """
    # JSON is hashable, and equal settings share one loaded model.
    return _build_cached(config.model_dump_json())


def _build_hf_detector(config: Any) -> Detector:
    """Build a detector of Hugging Face with loaded weights."""
    from kinesweep.features.signer_crop.hf_detector import HfDetector

    return HfDetector(config)


def _find_plugin_class(config: PluginDetectorConfig) -> Any:
    """Find the class of a plug-in.

    Raises:
        InputError: If there is none of this name, or it cannot be imported.
    """
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    # All installed names are listed, because a plug-in is often missing from one environment only.
    if config.name not in points:
        hint = suggest_closest_word(config.name, list(points))
        raise InputError(
            f"there is no detector `{config.name}`{hint}; installed (entry points"
            f" `{ENTRY_POINT_GROUP}`): {', '.join(sorted(points)) or 'none'}"
        )
    try:
        detector_class: Any = points[config.name].load()
        # Read here, so that a plug-in without a version is refused before the first video.
        str(detector_class.version)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the detector `{config.name}` cannot be used: {error}") from None
    return detector_class


def _build_plugin(config: Any) -> Detector:
    """Build the detector of an installed package."""
    detector: Detector = _find_plugin_class(config)(**config.arguments)
    return detector


_BUILDERS: Mapping[str, Callable[[Any], Detector]] = {
    "hf_detector": _build_hf_detector,
    "plugin": _build_plugin,
}
