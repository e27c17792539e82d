"""Loading of the models of neural metrics, from a local folder or by hub id.

A loaded model is kept for the next evaluation of the same process. Only safetensors weights are
accepted, except for BLEURT checkpoints, whose `pytorch_model.bin` is read without running any code
(`weights_only`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer

from kinesweep.core.errors import InputError, format_one_line
from kinesweep.core.hf_logging import silence_transformers

_LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError)


@contextmanager
def explain_loading_errors(metric: str, model_name: str) -> Iterator[None]:
    """Turn the errors of libraries while a metric's model is read into an `InputError`.

    Args:
        metric: Key of the metric below `evaluation`, for the message.
        model_name: Local folder or hub id.

    Raises:
        InputError: If the model cannot be read.
    """
    try:
        with silence_transformers():
            yield
    except _LOADING_ERRORS as error:
        if isinstance(error, InputError):
            raise
        # Messages of transformers span many lines.
        reason = format_one_line(error)
        raise InputError(
            f"`evaluation.{metric}` is `{model_name}`, which cannot be read: {reason}"
        ) from None


# Two, for BERTScore and for a BLEURT checkpoint of a model type that transformers knows.
@lru_cache(maxsize=2)
def load_metric_model(
    model_class: Any, model_name: str, metric: str, device: str
) -> tuple[Any, Any]:
    """Load a metric model in evaluation mode and its tokenizer, from a folder or from the hub.

    Args:
        model_class: Model class of transformers.
        model_name: Local folder or hub id.
        metric: Key of the metric below `evaluation`, for error messages.
        device: Device for the model.

    Returns:
        The model and its tokenizer.

    Raises:
        InputError: If the model or its tokenizer cannot be read, or weights other than those of a
            pooler are missing.
    """
    with explain_loading_errors(metric, model_name):
        tokenizer = AutoTokenizer.from_pretrained(model_name, trust_remote_code=False)
    model = load_weights(
        lambda: model_class.from_pretrained(
            model_name,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        ),
        model_name,
        metric,
    )
    return model.to(device).eval(), tokenizer


def load_weights(load: Callable[[], tuple[Any, Any]], model_name: str, metric: str) -> Any:
    """Load a model and check that all its weights were in the checkpoint.

    Args:
        load: Function that returns the model and transformers' loading information.
        model_name: Local folder or hub id, for error messages.
        metric: Key of the metric below `evaluation`, for error messages.

    Raises:
        InputError: If the model cannot be read, or weights other than those of a pooler are
            missing.
    """
    with explain_loading_errors(metric, model_name):
        model, loading_info = load()
    # Missing weights would be random. A pooler may be missing, because BERTScore does not use it.
    missing_weights = sorted(key for key in loading_info["missing_keys"] if "pooler" not in key)
    if missing_weights:
        raise InputError(
            f"`evaluation.{metric}` is `{model_name}`, but its weights lack"
            f" `{missing_weights[0]}`; use a model that was trained for this metric"
        )
    return model
