"""Check that a recipe uses the points that the estimator of its videos writes.

Extraction would drop every clip as `unknown_layout`, but only after hours of estimation. Estimators
of other packages are not checked, because what they write is not known here.
"""

from kinesweep.config.recipe.features.pose import PoseFeaturesConfig
from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import FeaturesConfig, PoseTsvConfig, SingleSourceConfig
from kinesweep.config.recipe.sources.estimators import PluginEstimatorConfig

_SMPL_POINTS = ("joints of SMPL", ("all",))
_POINTS_BY_ESTIMATOR = {
    "mediapipe": ("MediaPipe Holistic", ("holistic_178", "all")),
    "mediapipe_refined": (
        "MediaPipe Holistic with refined face landmarks",
        ("holistic_178", "youtube_asl_85", "all"),
    ),
    "rtmpose": ("COCO-WholeBody", ("uni_sign_69", "all")),
    "hybrik": _SMPL_POINTS,
    "python": _SMPL_POINTS,
    "command": _SMPL_POINTS,
}
"""Kind or name of an estimator → its points in words, and the choices of `features.points`."""
_WHOLEBODY_SKELETONS = ("coco_wholebody_133", "rtmpose_133")


def check_estimated_points(corpus: SingleSourceConfig, features: FeaturesConfig) -> None:
    """Check that features and skeleton fit the points that are estimated from a corpus's videos.

    Raises:
        ValueError: If they do not.
    """
    # Poses that exist already may come from anywhere, whatever their folder is called.
    if not isinstance(corpus, PoseTsvConfig | SkeletonsConfig) or corpus.videos is None:
        return
    config = corpus.estimator
    name = config.name if isinstance(config, PluginEstimatorConfig) else getattr(config, "kind", "")
    name = name or getattr(features, "estimator", None) or "mediapipe"
    if isinstance(corpus, SkeletonsConfig):
        if name == "rtmpose" and corpus.skeleton not in _WHOLEBODY_SKELETONS:
            declared = corpus.skeleton if isinstance(corpus.skeleton, str) else corpus.skeleton.name
            raise ValueError(
                f"`source.estimator` is rtmpose, which estimates the points of COCO-WholeBody, but"
                f" `source.skeleton` is {declared}; set it to {_WHOLEBODY_SKELETONS[0]}"
            )
        return
    # Features of another package select points in their own way.
    if not isinstance(features, PoseFeaturesConfig) or name not in _POINTS_BY_ESTIMATOR:
        return
    description, allowed = _POINTS_BY_ESTIMATOR[name]
    if features.points not in allowed:
        raise ValueError(
            f"`features.points` is {features.points}, but the estimator of the videos, {name},"
            f" writes {description}; set it to {' or '.join(allowed)}, or use another estimator"
        )
