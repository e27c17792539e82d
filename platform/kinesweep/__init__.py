"""Kinesweep finds, trains and exports the best model that turns human motion into text.

Clips enter through `sources` and become features in a `store`, then batches, a trained model and
finally a bundle. `sweeps` determines which configuration is best and how certain that result is.
Importing this package loads no heavy library, but it does register a hook with which Hugging Face's
Auto classes can load models that Kinesweep saved: the first `AutoConfig.from_pretrained` imports
`kinesweep.models`, regardless of whether transformers is imported before or after this package.
"""

from types import ModuleType
from typing import Any

import wrapt

__version__ = "0.1.0"


# `when_imported` calls the hook at once if the module has been imported already.
@wrapt.when_imported("transformers.models.auto.configuration_auto")
def _know_our_models(module: ModuleType) -> None:
    """Make the first `AutoConfig.from_pretrained` import `kinesweep.models`."""

    # `kinesweep.models` is imported when the function is called, not here, because transformers may
    # still be in the middle of its own imports. Patching AutoConfig is enough: every Auto class
    # loads the configuration first.
    @wrapt.patch_function_wrapper(module.AutoConfig, "from_pretrained")
    def from_pretrained(load: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import kinesweep.models  # noqa: F401

        return load(*args, **kwargs)
