"""Check that the clips of a run have texts, which only pretraining does without.

It is no rule of the schema, because extraction and pretraining read the same sections.
"""

from collections.abc import Sequence

from kinesweep.config.recipe.source import SingleSourceConfig
from kinesweep.core.errors import ConfigError


def check_texts_are_required(corpora: Sequence[SingleSourceConfig]) -> None:
    """Check that no corpus of a run may contain clips without texts.

    Args:
        corpora: Corpora of the recipe.

    Raises:
        ConfigError: If a corpus allows them, as pretraining does.
    """
    if any(getattr(corpus, "allow_empty_texts", False) for corpus in corpora):
        text = (
            "is true, but this run learns to write texts; set it to false, which leaves out clips"
            " without one (`kinesweep pretrain` needs none)"
        )
        raise ConfigError("the recipe", [("source.allow_empty_texts", text)])
