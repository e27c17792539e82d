"""Export of finished runs as bundles, which can be loaded, verified and used for translation.

Importing this package loads none of its modules. The command line can therefore reject unusable
inputs without importing PyTorch, which takes seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinesweep.export.bundle import export_bundle
    from kinesweep.export.bundle_manifest import check_bundle_files
    from kinesweep.export.inputs import find_inputs
    from kinesweep.export.mlflow_flavor import build_mlflow_metrics
    from kinesweep.export.raw_inputs import Input
    from kinesweep.export.translate import Bundle
    from kinesweep.export.verify import verify_bundle

__all__ = [
    "Bundle",
    "Input",
    "build_mlflow_metrics",
    "check_bundle_files",
    "export_bundle",
    "find_inputs",
    "verify_bundle",
]
_MODULES = {
    "Bundle": "translate",
    "Input": "raw_inputs",
    "build_mlflow_metrics": "mlflow_flavor",
    "check_bundle_files": "bundle_manifest",
    "export_bundle": "bundle",
    "find_inputs": "inputs",
    "verify_bundle": "verify",
}


def __getattr__(name: str) -> Any:
    """Load a public name's module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
