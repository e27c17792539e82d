"""Grafana's boards draw what there is; `tests/cluster` asks every query of a Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from kinesweep.training.run_records.prometheus import GAUGES

BOARDS = sorted((Path(__file__).parents[2] / "dashboards/grafana").glob("*.json"))


def panels(board: Path) -> list[dict[str, Any]]:
    return [p for p in json.loads(board.read_text())["panels"] if p["type"] != "row"]


def queries(board: Path) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def test_every_gauge_is_drawn_and_no_other() -> None:
    text = " ".join(query for board in BOARDS for query in queries(board))
    assert set(re.findall(r"ray_kinesweep_(\w+)", text)) == set(GAUGES)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_panels_lie_side_by_side(board: Path) -> None:
    """No two panels share a place, and all have numbers of their own."""
    all_panels = json.loads(board.read_text())["panels"]
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in all_panels):
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_query_knows_only_the_boards_variables(board: Path) -> None:
    known = {v["name"] for v in json.loads(board.read_text())["templating"]["list"]}
    used = {name for query in queries(board) for name in re.findall(r"\$(\w+)", query)}
    assert used <= known | {"__rate_interval"}
