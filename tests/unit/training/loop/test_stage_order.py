"""Differences between two stages are listed in the order of the streams, in every process."""

from types import SimpleNamespace
from typing import Any

from kinesweep.training.loop.stage_compatibility import _compare_architectures

STREAMS = [f"stream{number}" for number in (7, 3, 9, 1, 8, 2, 6, 4, 5, 0)]


def config(kind: str) -> Any:
    """A configuration whose encoders are all of one kind."""
    widths = dict.fromkeys(STREAMS, 4)
    section = SimpleNamespace(
        get_encoder_config=lambda _: SimpleNamespace(kind=kind),
        reference=None,
        vision=None,
        backbone=SimpleNamespace(pretrained=None),
    )
    return SimpleNamespace(
        get_encoder_widths=lambda: widths,
        get_model_config=lambda: section,
        get_skeleton=lambda _: None,
        base=None,
        vision=None,
    )


def test_the_order_is_that_of_the_streams() -> None:
    """That of a set of strings would change with the hash seed of the process."""
    differences = _compare_architectures(config("linear"), config("mlp"))
    assert [text.split("`")[1] for text in differences] == STREAMS
