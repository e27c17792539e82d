"""Saved views of MLflow's charts fit into a tag of MLflow, whatever is searched."""

import base64
import hashlib
import json
import logging
import zlib
from typing import Any

import pytest

from kinesweep.tracking.saved_views import MAX_TAG_LENGTH, ChartedColumns, encode_saved_view


def encode(num_parameters: int, name: str = "search of mine") -> str:
    """A view of parameters whose names hardly compress."""
    names = [hashlib.sha256(bytes([n])).hexdigest() for n in range(num_parameters)]
    order, run_filter = ("bleu", False), "tags.phase = 'search'"
    return encode_saved_view(name, run_filter, order, ChartedColumns(["bleu"], names))


def decode(view: str) -> dict[str, Any]:
    """The state of a view, as MLflow's page reads it."""
    kind, _, text = json.loads(view)["state"].partition(";")
    assert kind == "deflate"
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text)))
    return state


def test_few_parameters_have_a_scatter_plot_each(caplog: pytest.LogCaptureFixture) -> None:
    charts = decode(encode(3))["compareRunCharts"]
    assert [chart["type"] for chart in charts] == ["PARALLEL", *["SCATTER"] * 3, "CONTOUR"]
    assert not caplog.text


@pytest.mark.parametrize("num_parameters", [90, 200, 256])
def test_as_many_parameters_are_shown_as_there_is_room_for(
    num_parameters: int, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow refuses a longer tag, and then `kinesweep ui` had no links at all."""
    with caplog.at_level(logging.WARNING):
        view = encode(num_parameters)
    # A name has 64 hexadecimal digits, so 43 characters at the least.
    assert MAX_TAG_LENGTH - 100 < len(view) <= MAX_TAG_LENGTH
    state = decode(view)
    (parallel,) = [chart for chart in state["compareRunCharts"] if chart["type"] == "PARALLEL"]
    num_shown = len(parallel["selectedParams"])
    assert f"the first {num_shown} of {num_parameters} searched parameters" in caplog.text
    assert len(state["selectedColumns"]) == num_shown + 1 and num_shown > 50


def test_a_name_in_any_script_costs_its_letters() -> None:
    assert json.loads(encode(2, "手話😀" * 60))["name"] == "手話😀" * 60
    assert len(encode(2, "手話😀" * 60)) == len(encode(2, "abc" * 60))
