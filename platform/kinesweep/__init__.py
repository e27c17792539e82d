"""Kinesweep finds, trains and exports the best model that turns human motion into text.

Clips enter through `sources` and become features in a `store`, then batches, a trained model and
finally a bundle. `sweeps` determines which configuration is best and how certain that result is.
The public API is `kinesweep.api`, whose functions are attributes of this package:
`import kinesweep as ks`, then `ks.load_recipe`, `ks.train`, `ks.sweep` and so on. Importing this
package loads no heavy library, but it does register a hook with which Hugging Face's
Auto classes can load models that Kinesweep saved: the first `AutoConfig.from_pretrained` imports
`kinesweep.models`, regardless of whether transformers is imported before or after this package. The
same goes for `AutoProcessor` and for `transformers.pipeline("motion-to-text")`.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from kinesweep.version import __version__

if TYPE_CHECKING:
    from kinesweep.api import (
        check,
        cross_validate,
        evaluate,
        evaluate_tasks,
        export_bundle,
        extract,
        load_bundle,
        load_embedding_recipe,
        load_pretraining_recipe,
        load_recipe,
        load_space,
        load_store,
        load_sweep,
        plan,
        pretrain,
        push_bundle,
        repeat,
        show_progress,
        sweep,
        train,
        train_embedder,
        write_sample,
    )

__all__ = [
    "__version__",
    "check",
    "cross_validate",
    "evaluate",
    "evaluate_tasks",
    "export_bundle",
    "extract",
    "load_bundle",
    "load_embedding_recipe",
    "load_pretraining_recipe",
    "load_recipe",
    "load_space",
    "load_store",
    "load_sweep",
    "plan",
    "pretrain",
    "push_bundle",
    "repeat",
    "show_progress",
    "sweep",
    "train",
    "train_embedder",
    "write_sample",
]


def __getattr__(name: str) -> Any:
    """Import the public API on first use (PEP 562)."""
    if name not in __all__ or name.startswith("_"):
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module("kinesweep.api"), name)


def __dir__() -> list[str]:
    """Return the public names, so that notebooks complete them."""
    return sorted([*globals(), *__all__])


# `when_imported` calls the hook at once if the module has been imported already.
@wrapt.when_imported("transformers.models.auto.configuration_auto")
def _patch_auto_config(module: ModuleType) -> None:
    """Make the first `AutoConfig.from_pretrained` import `kinesweep.models`."""

    # `kinesweep.models` is imported when the function is called, not here, because transformers may
    # still be in the middle of its own imports. Patching AutoConfig is enough: every Auto class
    # loads the configuration first.
    @wrapt.patch_function_wrapper(module.AutoConfig, "from_pretrained")
    def from_pretrained(load: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import kinesweep.models  # noqa: F401

        return load(*args, **kwargs)


@wrapt.when_imported("transformers.models.auto.processing_auto")
def _patch_auto_processor(module: ModuleType) -> None:
    """Make the first `AutoProcessor.from_pretrained` import the processor of bundles."""

    @wrapt.patch_function_wrapper(module.AutoProcessor, "from_pretrained")
    def from_pretrained(load: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import kinesweep.export.auto_classes.processor  # noqa: F401

        return load(*args, **kwargs)


@wrapt.when_imported("transformers.pipelines")
def _register_pipeline(_: ModuleType) -> None:
    """Add the task `motion-to-text` to transformers' pipelines."""
    from kinesweep.export.auto_classes.motion_pipeline import register_pipeline

    register_pipeline()
