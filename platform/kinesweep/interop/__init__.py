"""Import of settings, models and motions from other systems.

Settings become recipes, and model folders become Kinesweep model folders. Nothing is dropped
silently: settings without a counterpart are listed with the reason, and every tensor of a model is
accounted for. Importing this package loads none of its modules, because settings and motions are
converted without PyTorch, which takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinesweep.interop.multimodalhugs_config import (
        ConvertedMultimodalHugsSettings,
        convert_multimodalhugs_settings,
    )
    from kinesweep.interop.multimodalhugs_weights import import_multimodalhugs_model
    from kinesweep.interop.signllava import import_sign_llava_projectors
    from kinesweep.interop.ssvp import import_ssvp

__all__ = [
    "ConvertedMultimodalHugsSettings",
    "convert_multimodalhugs_settings",
    "import_multimodalhugs_model",
    "import_sign_llava_projectors",
    "import_ssvp",
]
# Public name → its module, which `__getattr__` imports on first use.
_MODULES = {
    "ConvertedMultimodalHugsSettings": "multimodalhugs_config",
    "convert_multimodalhugs_settings": "multimodalhugs_config",
    "import_multimodalhugs_model": "multimodalhugs_weights",
    "import_sign_llava_projectors": "signllava",
    "import_ssvp": "ssvp",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
