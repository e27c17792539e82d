"""Base classes for the configurations of parts that other packages add.

The configuration class is what an entry point names. It holds the settings of the part and the
location of the class that implements it, which is imported when the part is built. A package may
therefore keep PyTorch out of the module of the configuration, so that errors in a recipe appear at
once; a package of one file has both in one module.
"""

from importlib import import_module
from typing import Any, ClassVar

from pydantic import Field

from kinesweep.config.loading import StrictConfig
from kinesweep.core.errors import InputError


class PartConfig(StrictConfig):
    """Settings of a part of another package; do not inherit from it but from a class of its group.

    Attributes:
        group: Entry-point group of the part.
        implementation: Location of the class that implements the part, as `module:Class`.
    """

    group: ClassVar[str] = ""
    implementation: ClassVar[str] = ""

    kind: str

    @classmethod
    def import_implementation(cls) -> Any:
        """Import the class that implements the part.

        Raises:
            InputError: If it cannot be imported.
        """
        module_name, _, attribute = cls.implementation.partition(":")
        try:
            return getattr(import_module(module_name), attribute)
        # An import executes code of another package, which may fail in any way.
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {str(error).strip()[:300]}"
            raise InputError(
                f"`{cls.__module__}:{cls.__qualname__}` names the implementation"
                f" `{cls.implementation}`, which cannot be imported ({reason}); it must have the"
                " form `module:Class`"
            ) from None


class SourcePart(PartConfig):
    """Base class for settings of a source."""

    group: ClassVar[str] = "kinesweep.sources"


class FeaturesPart(PartConfig):
    """Base class for settings of features."""

    group: ClassVar[str] = "kinesweep.features"


class EstimatorPart(PartConfig):
    """Base class for settings of a pose estimator."""

    group: ClassVar[str] = "kinesweep.estimators"


class EncoderPart(PartConfig):
    """Base class for settings of an encoder.

    Attributes:
        reads_skeleton: Whether the encoder needs the skeleton of its stream, which is then its
            fourth argument.
    """

    group: ClassVar[str] = "kinesweep.encoders"
    reads_skeleton: ClassVar[bool] = False


class BackbonePart(PartConfig):
    """Base class for settings of a backbone."""

    group: ClassVar[str] = "kinesweep.backbones"


class LossPart(PartConfig):
    """Base class for settings of a training loss."""

    group: ClassVar[str] = "kinesweep.losses"

    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of this loss; the rest is the cross entropy. 1: it is replaced.",
    )


class MetricPart(PartConfig):
    """Base class for settings of a metric."""

    group: ClassVar[str] = "kinesweep.metrics"


class SamplerPart(PartConfig):
    """Base class for settings of a sampler of search spaces."""

    group: ClassVar[str] = "kinesweep.samplers"


PART_CLASSES: dict[str, type[PartConfig]] = {
    part_class.group: part_class
    for part_class in (
        SourcePart,
        FeaturesPart,
        EstimatorPart,
        EncoderPart,
        BackbonePart,
        LossPart,
        MetricPart,
        SamplerPart,
    )
}
"""Entry-point group → base class of its configurations, in the order of a recipe."""
