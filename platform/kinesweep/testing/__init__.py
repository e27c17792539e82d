"""Conformance suites for parts of other packages, which their tests inherit; requires pytest.

    from kinesweep.testing import EncoderContract

    class TestMyEncoder(EncoderContract):
        config = MyEncoderConfig()

Each suite states what a run relies on: equal seeds give equal results, padding changes nothing, and
what is sent to workers pickles. Our own parts pass the same suites. `kinesweep new` writes packages
with such a test.
"""

from kinesweep.features.estimators.testing import EstimatorContract
from kinesweep.testing.backbones import BackboneContract
from kinesweep.testing.encoders import EncoderContract
from kinesweep.testing.features import FeatureContract
from kinesweep.testing.losses import LossContract
from kinesweep.testing.metrics import MetricContract
from kinesweep.testing.parts import PartContract
from kinesweep.testing.samplers import SamplerContract
from kinesweep.testing.sources import SourceContract

__all__ = [
    "BackboneContract",
    "EncoderContract",
    "EstimatorContract",
    "FeatureContract",
    "LossContract",
    "MetricContract",
    "PartContract",
    "SamplerContract",
    "SourceContract",
]
