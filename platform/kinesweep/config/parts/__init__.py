"""Parts of other packages: sources, features, encoders, losses … that entry points add to ours.

A package declares an entry point in one of the groups of `PART_GROUPS`. Its name is the `kind` by
which recipes select the part, its value the configuration class, a subclass of the base class of
the group. Our own kinds take precedence. See docs/parts.md.
"""

from kinesweep.config.parts.building import build_part
from kinesweep.config.parts.installed_parts import (
    InstalledPart,
    find_installed_part,
    list_installed_parts,
    load_part_config,
)
from kinesweep.config.parts.kind_or_part import KindOrPart
from kinesweep.config.parts.part_config import (
    PART_GROUPS,
    EncoderPart,
    FeaturesPart,
    LossPart,
    MetricPart,
    PartConfig,
    PartRole,
    SamplerPart,
    SourcePart,
)
from kinesweep.config.parts.required_parts import (
    check_required_parts,
    describe_required_parts,
    read_required_parts,
)
from kinesweep.config.parts.used_parts import (
    add_part_identities,
    describe_packages,
    identify_parts,
    list_used_parts,
)

__all__ = [
    "PART_GROUPS",
    "EncoderPart",
    "FeaturesPart",
    "InstalledPart",
    "KindOrPart",
    "LossPart",
    "MetricPart",
    "PartConfig",
    "PartRole",
    "SamplerPart",
    "SourcePart",
    "add_part_identities",
    "build_part",
    "check_required_parts",
    "describe_packages",
    "describe_required_parts",
    "find_installed_part",
    "identify_parts",
    "list_installed_parts",
    "list_used_parts",
    "load_part_config",
    "read_required_parts",
]
