"""Poses become arrays: one module a kind of feature, chosen by `kind` from the table below."""

from kinesweep.core.recipe.source import FeaturesConfig
from kinesweep.features.contract import FeatureStep
from kinesweep.features.pose import PoseFeatures

__all__ = ["FeatureStep", "build_features"]

_STEPS = {"pose": PoseFeatures}


def build_features(config: FeaturesConfig) -> FeatureStep:
    """The feature step that `config.kind` names."""
    return _STEPS[config.kind](config)
