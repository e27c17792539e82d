"""Checks of `model.vision` against the features; each raises a `ValueError` with the reason.

The vision model reads streams of decoded frames (`features.kind: frames`), alone or among the parts
of combined features. Sizes are compared when the model is built, because that of a pretrained model
stands in its own files.
"""

from typing import Any

from kinesweep.config.recipe.model import ModelConfig

FRAMES_KIND = "frames"
IMAGES_KIND = "images"
"""Kind of features with one frame for each image; they are vectors if they have an `encoder`."""


def list_frame_streams(features: Any) -> dict[str, Any]:
    """List the streams of frames or images of a `features` section: stream → its section.

    Args:
        features: The recipe's `features` section, of any kind.
    """
    parts = getattr(features, "parts", None) or (features,)
    return {
        str(getattr(part, "name", None) or part.stream): part
        for part in parts
        if part.kind == FRAMES_KIND or (part.kind == IMAGES_KIND and part.encoder is None)
    }


def check_vision_model(model: ModelConfig, features: Any) -> None:
    """Check that streams of frames have a vision model that fits them, and that it has frames.

    Args:
        model: The recipe's `model` section.
        features: The recipe's `features` section.

    Raises:
        ValueError: If one lacks the other, their frame rates differ, or the encoder of a stream of
            frames needs training statistics, which frames do not have.
    """
    streams = list_frame_streams(features)
    if model.vision is None:
        if streams:
            raise ValueError(
                f"stream `{next(iter(streams))}` holds decoded frames (`features.kind: frames`),"
                " which only a vision model reads: set `model.vision`, or store the vectors of a"
                " pretrained model with `features.kind: video`"
            )
        return
    if not streams:
        raise ValueError(
            f"`model.vision` reads decoded frames, but `features.kind` is {features.kind}; use"
            " `features.kind: frames`, or remove `model.vision`"
        )
    for name, section in streams.items():
        _check_frame_rate(model, name, section)
        if getattr(model.get_encoder_config(name), "standardize", False):
            raise ValueError(format_standardize_problem(model, name))


def format_standardize_problem(model: ModelConfig, stream: str) -> str:
    """Format the problem of an encoder that standardizes the vectors of the vision model.

    Args:
        model: The recipe's `model` section.
        stream: Name of a stream of frames.
    """
    key = f"model.encoders.{stream}" if stream in model.encoders else "model.encoder"
    return (
        f"`{key}.standardize` needs statistics of the training split, but the vectors of"
        f" `{stream}` come from `model.vision` and change while it is trained; set it to false"
        " (`norm_in: true` normalizes each vector)"
    )


def _check_frame_rate(model: ModelConfig, stream: str, section: Any) -> None:
    """Check that the windows have the frame rate of a stream of frames.

    Raises:
        ValueError: If the rates differ.
    """
    assert model.vision is not None
    rate_fps, window_fps = getattr(section, "target_fps", None), model.vision.windows.target_fps
    # Streams of single images have no rate.
    if rate_fps is not None and rate_fps != window_fps:
        raise ValueError(
            f"`model.vision.windows.target_fps` is {window_fps:g}, but stream `{stream}` holds"
            f" {rate_fps:g} frames per second (`features.target_fps`); set both to one value"
        )
