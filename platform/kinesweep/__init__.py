"""Kinesweep: finds, trains and hands over the best model that turns human motion into text.

Clips come in through `sources`, become features in a `store`, batches, a trained model and at last
a bundle; `sweeps` asks which configuration is best and how sure that is. Importing this package
alone loads nothing heavy, and yet teaches Hugging Face's Auto classes to load what it has saved:
the first `from_pretrained` brings in `kinesweep.models`, whether transformers was imported before
or comes later.
"""

from types import ModuleType
from typing import Any

import wrapt

__version__ = "0.1.0"


@wrapt.when_imported("transformers.models.auto.configuration_auto")
def _know_our_models(module: ModuleType) -> None:
    # At the call, not here: transformers may be in the middle of its own imports. All Auto classes
    # begin with the configuration.
    @wrapt.patch_function_wrapper(module.AutoConfig, "from_pretrained")
    def from_pretrained(load: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import kinesweep.models  # noqa: F401

        return load(*args, **kwargs)
