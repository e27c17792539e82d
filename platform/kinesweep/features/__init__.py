"""Feature extraction: convert media into arrays.

There is one class for each kind of feature. `kind` in the recipe selects one from the table below.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kinesweep.config.parts import FeaturesPart
from kinesweep.config.recipe.source import FeaturesConfig
from kinesweep.features.contract import Features, FeatureStep
from kinesweep.features.frames import FramesFeatures
from kinesweep.features.parts import build_feature_step_part
from kinesweep.features.pose import PoseFeatures
from kinesweep.features.precomputed_features import PrecomputedStep, PrecomputedStreamsStep
from kinesweep.features.skeleton import SkeletonFeatures
from kinesweep.features.texts.text import TextFeatures

__all__ = ["FeatureStep", "Features", "build_features"]


def build_features(config: FeaturesConfig) -> FeatureStep:
    """Build the feature step that `config.kind` names, with this configuration."""
    if isinstance(config, FeaturesPart):
        return build_feature_step_part(config)
    return _STEPS[config.kind](config)


def _build_video_features(config: Any) -> FeatureStep:
    """Build the feature step of kind `video`."""
    # Imports torch, which takes seconds; the other kinds do not need it.
    from kinesweep.features.video import VideoFeatures

    return VideoFeatures(config)


def _build_images_features(config: Any) -> FeatureStep:
    """Build the feature step of kind `images`."""
    # Imports the libraries of images, which other kinds do not need.
    from kinesweep.features.images.images import ImagesFeatures

    return ImagesFeatures(config)


_STEPS: Mapping[str, Callable[[Any], FeatureStep]] = {
    "pose": PoseFeatures,
    "video": _build_video_features,
    "frames": FramesFeatures,
    "precomputed": PrecomputedStep,
    "streams": PrecomputedStreamsStep,
    "images": _build_images_features,
    "text": TextFeatures,
    "skeleton": SkeletonFeatures,
}
