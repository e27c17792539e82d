"""The check that a file has a frame rate which the model was trained on.

A model reads frames, not seconds: at another rate every movement is slower or faster than all that
it has seen, and the texts are wrong without any sign of it. With `features.fps` every file has the
rate of the training data, because it is resampled. Otherwise a file is refused if its rate differs
by more than 1 % from the rate of the training data, or lies outside of their range if they had
several rates. 1 % accepts 29.97 for 30 frames per second, but not 24 for 25.
"""

from kinesweep.core.errors import ClipError
from kinesweep.core.schema import RATE_TOLERANCE, StreamSchema


def check_training_rate(rate_hz: float, schema: StreamSchema, stride: int, stream: str) -> None:
    """Check that the rate of a file's features is one of those that the model was trained on.

    Bundles that do not state rates, such as imported weights, are not checked.

    Args:
        rate_hz: Features per second of the file.
        schema: Schema of the stream in the training data.
        stride: Number of frames of a file per feature, by which rates of files are shown.
        stream: Name of the stream, for the message.

    Raises:
        ClipError: If the rate differs; reason `other_rate`.
    """
    known_rates = [rate for rate, _ in schema.rates_hz]
    if schema.rate_hz is not None:
        known_rates.append(schema.rate_hz)
    if not known_rates:
        return
    lowest, highest = min(known_rates), max(known_rates)
    if lowest * (1 - RATE_TOLERANCE) <= rate_hz <= highest * (1 + RATE_TOLERANCE):
        return
    trained = f"{lowest * stride:.5g}"
    if lowest != highest:
        trained += f" to {highest * stride:.5g}"
    raise ClipError(
        f"it has {rate_hz * stride:.5g} frames per second of `{stream}`, but the model was trained"
        f" on {trained}, so all movements would have another speed. Convert the file to such a"
        " rate, or train with `features.fps`, which resamples every file; `--accept-rate`"
        " (`load_bundle(…, accept_rate=True)`) translates it all the same",
        "other_rate",
    )
