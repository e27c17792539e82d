"""Loading a saved model exactly, or not at all.

Hugging Face draws missing weights at random and drops unexpected ones with a warning; a projector
that was silently random has spoilt results before. Here each is an error that names the key.
"""

from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError

from kinesweep.core.errors import CheckpointError
from kinesweep.core.silence import silent


def load_exactly(load: Callable[..., Any], folder: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls Hugging Face's loader and refuses anything but a perfect fit.

    Args:
        load: `PreTrainedModel.from_pretrained`, bound to a class.
        folder: what was saved.
        *args: handed on.
        **kwargs: handed on.

    Raises:
        CheckpointError: not readable, or keys missing, unexpected or of another shape.
    """
    asked_for_info = kwargs.pop("output_loading_info", False)
    # Shapes that differ are let through the loader, so that we can name them.
    fixed = {
        "use_safetensors": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
    }
    try:
        with silent():
            model, info = load(folder, *args, **{**kwargs, **fixed})
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(f"`{folder}` cannot be loaded as a model: {text}") from None
    problems = _problems(info)
    if problems:
        raise CheckpointError(
            f"`{folder}` does not hold exactly the weights of its model: {'; '.join(problems)}."
            " The folder is damaged or was written by another version."
        )
    return (model, info) if asked_for_info else model


def _problems(info: dict[str, Any]) -> list[str]:
    """What the loader had to make up or leave out."""
    found = []
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(key if isinstance(key, str) else str(key[0]) for key in info[name])
        if keys:
            shown = ", ".join(f"`{key}`" for key in keys[:3])
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            found.append(f"{name.removesuffix('_keys')} {shown}{more}")
    return found
