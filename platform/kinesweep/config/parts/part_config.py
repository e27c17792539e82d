"""Base classes for the configurations of parts that other packages add.

The configuration class is what an entry point names. It holds the settings of the part and the
location of the class that implements it, which is imported when the part is built. A package may
therefore keep PyTorch out of the module of the configuration, so that errors in a recipe appear at
once; a package of one file has both in one module.
"""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from kinesweep.config.corpus import CorpusConfig
from kinesweep.config.loading import StrictConfig
from kinesweep.core.errors import InputError


def run_import(import_part: Callable[[], Any]) -> Any:
    """Return what a function imports from another package, or report why it cannot be imported.

    What the package prints goes to stderr, because stdout is for results that programs read.

    Args:
        import_part: Function that imports the object.

    Raises:
        ImportError: If it raises anything but an interrupt.
    """
    try:
        with redirect_stdout(sys.stderr):
            return import_part()
    # Ctrl-C is the user's.
    except KeyboardInterrupt:
        raise
    # An import executes code of another package, which may fail in any way: `sys.exit`, or an error
    # of a test framework that is no `Exception`.
    except BaseException as error:
        text = " ".join(str(error).split())[:300]
        raise ImportError(f"{type(error).__name__}: {text}") from None


class PartConfig(StrictConfig):
    """Settings of a part of another package; do not inherit from it but from a class of its group.

    Attributes:
        group: Entry-point group of the part.
        implementation: Location of the class that implements the part, as `module:Class`.
        required: Names of methods and properties that its implementation must have.
    """

    group: ClassVar[str] = ""
    implementation: ClassVar[str] = ""
    required: ClassVar[tuple[str, ...]] = ()

    kind: str

    @classmethod
    def import_implementation(cls) -> Any:
        """Import the class that implements the part.

        Raises:
            InputError: If it cannot be imported.
        """
        module_name, _, attribute = cls.implementation.partition(":")
        try:
            return run_import(lambda: getattr(import_module(module_name), attribute))
        except ImportError as error:
            raise InputError(
                f"`{cls.__module__}:{cls.__qualname__}` names the implementation"
                f" `{cls.implementation}`, which cannot be imported ({error}); it must have the"
                " form `module:Class`"
            ) from None


class SourcePart(CorpusConfig, PartConfig):
    """Base class for settings of a source: one table per split, one media file per clip.

    Attributes:
        features_kinds: Kinds of features that can be extracted from its media.
        file_suffixes: Suffixes of its media files, with the point, in lower case.
    """

    group: ClassVar[str] = "kinesweep.sources"
    required: ClassVar[tuple[str, ...]] = ("read_clips", "read_file", "list_clips")
    features_kinds: ClassVar[tuple[str, ...]] = ("precomputed",)
    file_suffixes: ClassVar[tuple[str, ...]] = ()

    root: str | None = Field(
        None,
        description="Folder that media paths are relative to; default: the folder of each table.",
    )


class FeaturesPart(PartConfig):
    """Base class for settings of features.

    Attributes:
        source_kinds: Kinds of sources from whose media the features can be extracted, beside those
            that name the features themselves.
    """

    group: ClassVar[str] = "kinesweep.features"
    required: ClassVar[tuple[str, ...]] = ("compute_features", "estimate_shapes")
    source_kinds: ClassVar[tuple[str, ...]] = ()


class EncoderPart(PartConfig):
    """Base class for settings of an encoder.

    Attributes:
        reads_skeleton: Whether the encoder needs the skeleton of its stream, which is then its
            fourth argument.
    """

    group: ClassVar[str] = "kinesweep.encoders"
    required: ClassVar[tuple[str, ...]] = ("forward", "set_statistics")
    reads_skeleton: ClassVar[bool] = False


class LossPart(PartConfig):
    """Base class for settings of a training loss."""

    group: ClassVar[str] = "kinesweep.losses"
    required: ClassVar[tuple[str, ...]] = ("forward",)

    share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of this loss; the rest is the cross entropy. 1: it is replaced.",
    )


class MetricPart(PartConfig):
    """Base class for settings of a metric of texts.

    Attributes:
        mode: Direction in which the metric is better.
    """

    group: ClassVar[str] = "kinesweep.metrics"
    required: ClassVar[tuple[str, ...]] = (
        "compute",
        "compute_clip_statistics",
        "compute_score_from_sum",
    )
    mode: ClassVar[Literal["max", "min"]] = "max"

    label: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Name of the score in results, objectives and plots; none: the `kind`.",
    )
    during_training: bool = Field(
        True, description="Compute the metric in evaluations during training too."
    )

    @property
    def name(self) -> str:
        """Return the name of the metric, for messages."""
        return self.kind

    @property
    def score_name(self) -> str:
        """Return the name of the score."""
        return self.label or self.kind

    @property
    def direction(self) -> Literal["max", "min"]:
        """Return the direction in which the metric is better."""
        return self.mode


class SamplerPart(PartConfig):
    """Base class for settings of a sampler that learns from earlier trials.

    Attributes:
        supports_conditions: Whether it can be used if parameters exist only under a condition.
        supports_objectives: Whether it can be used with several objectives.
    """

    group: ClassVar[str] = "kinesweep.samplers"
    required: ClassVar[tuple[str, ...]] = ("sample_independent",)
    supports_conditions: ClassVar[bool] = True
    supports_objectives: ClassVar[bool] = True

    trials: int = Field(ge=1, description="Number of configurations to try.")
    seed: int = Field(
        0, ge=0, description="Seed of the sampler and of all trials; must not be a final seed."
    )


PART_GROUPS = {
    "source": "kinesweep.sources",
    "feature": "kinesweep.features",
    "estimator": "kinesweep.estimators",
    "encoder": "kinesweep.encoders",
    "backbone": "kinesweep.backbones",
    "loss": "kinesweep.losses",
    "metric": "kinesweep.metrics",
    "sampler": "kinesweep.samplers",
}
"""Kind of part, as `kinesweep new` calls it → its entry-point group, in the order of a recipe."""
if TYPE_CHECKING:
    PartRole = str
else:
    PartRole = Literal[tuple(PART_GROUPS)]
"""A key of `PART_GROUPS`, as the type of an argument on the command line."""
