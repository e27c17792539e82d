"""Our own kinds of parts by entry-point group; they take precedence over parts of these names."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from kinesweep.config.parts import PartConfig
from kinesweep.config.recipe.metrics import ExtraMetricConfig
from kinesweep.config.recipe.model.backbone import BackboneConfig
from kinesweep.config.recipe.model.encoders import EncoderConfig
from kinesweep.config.recipe.objectives.loss import LossConfig
from kinesweep.config.recipe.source import AnyFeatures, AnySource
from kinesweep.features.estimators import BUILT_IN_ESTIMATORS
from kinesweep.sweeps.space.space import AnySearch

_SECTIONS: Mapping[str, Any] = {
    "kinesweep.sources": AnySource,
    "kinesweep.features": AnyFeatures,
    "kinesweep.encoders": EncoderConfig,
    "kinesweep.backbones": BackboneConfig,
    "kinesweep.losses": LossConfig,
    "kinesweep.metrics": ExtraMetricConfig,
    "kinesweep.samplers": AnySearch,
}
"""Group → type of the section of a recipe or space that selects one of its parts."""
# The kind of a list of features, which is not in the table of single features.
_MORE_KINDS: Mapping[str, tuple[str, ...]] = {"kinesweep.features": ("combined",)}


def list_our_kinds(group: str) -> list[str]:
    """List the kinds of a group that are ours, for which no entry point is ever looked up.

    Args:
        group: Entry-point group.
    """
    if group == "kinesweep.estimators":
        return list(BUILT_IN_ESTIMATORS)
    return [*_iter_kinds(_SECTIONS[group]), *_MORE_KINDS.get(group, ())]


def _iter_kinds(section: Any) -> list[str]:
    """Return the kinds of the configurations in a union, except those of parts."""
    if isinstance(section, type) and issubclass(section, BaseModel):
        if issubclass(section, PartConfig):
            return []
        return list(get_args(section.model_fields["kind"].annotation))
    # The further arguments of `Annotated` are no configurations.
    members = get_args(section) if get_origin(section) is not Annotated else get_args(section)[:1]
    return [kind for member in members for kind in _iter_kinds(member)]
