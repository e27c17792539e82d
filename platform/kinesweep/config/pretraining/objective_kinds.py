"""All objectives of pretraining, told apart by their `kind`."""

from typing import Annotated

from pydantic import Discriminator, Tag

from kinesweep.config.kinds import make_kind_getter
from kinesweep.config.pretraining.clip import ClipConfig
from kinesweep.config.pretraining.objectives import MaskedAutoencodingConfig

# A callable discriminator lets `kind` be omitted; pydantic's own would require it in the input.
ObjectiveConfig = Annotated[
    Annotated[MaskedAutoencodingConfig, Tag("mae")] | Annotated[ClipConfig, Tag("clip")],
    Discriminator(make_kind_getter("mae")),
]
AnyObjective = MaskedAutoencodingConfig | ClipConfig
