"""`FeatureContract`: what every feature step must do."""

import pickle
from typing import Any

import numpy as np

from kinesweep.features import FeatureStep, build_features
from kinesweep.testing.parts import PartContract


class FeatureContract(PartContract):
    """Checks of a feature step; a subclass implements `make_media`.

    Attributes:
        config: Section `features`.
    """

    def make_media(self) -> Any:
        """Make media of a clip, as the source reads them (`kinesweep.sources.base`)."""
        raise NotImplementedError("implement `make_media` in the test class")

    def build(self) -> FeatureStep:
        """Build the feature step."""
        return build_features(self.config)

    def test_features_have_the_shapes_that_were_estimated(self) -> None:
        """Check streams, shapes, types and values of the features."""
        step = self.build()
        features = step.compute_features(self.make_media())
        assert set(features) <= set(step.streams)
        shapes = step.estimate_shapes(self.make_media())
        for name, stream in features.items():
            assert stream.x_TD.ndim == 2 and stream.x_TD.dtype == np.float32
            assert np.isfinite(stream.x_TD).all() and stream.rate_hz > 0
            assert stream.x_TD.shape[1] == shapes[name][1]

    def test_a_pickle_computes_the_same_bits(self) -> None:
        """Check that features are the same twice, on another process and after other clips."""
        step = self.build()
        again = pickle.loads(pickle.dumps(step))
        first = step.compute_features(self.make_media())
        for features in (
            step.compute_features(self.make_media()),
            again.compute_features(self.make_media()),
        ):
            for name, stream in first.items():
                assert np.array_equal(features[name].x_TD, stream.x_TD)

    def test_the_fingerprint_is_that_of_the_configuration(self) -> None:
        """Check that the fingerprint does not change from process to process."""
        assert self.build().fingerprint == self.build().fingerprint
        assert pickle.loads(pickle.dumps(self.build())).fingerprint == self.build().fingerprint
