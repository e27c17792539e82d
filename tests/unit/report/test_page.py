"""The page: whole, small, quick, and safe from the texts of a corpus."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kinesweep.pipelines.sweeps.sweep_report import write_sweep_report
from kinesweep.report import SweepReport, TranslationSample, TrialSummary, write_report
from sweeping import RATE

pytestmark = pytest.mark.integration

Make = Callable[..., SweepReport]
EVIL = "</script><script>alert(1)</script>&amp; <img src=x onerror=alert(2)> \u2028"


def outside_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def table(page: str) -> list[tuple[str, float]]:
    """The ranking as the page has it."""
    found = re.findall(r'<tr data-name="([^"]+)" data-mean="([^"]+)">', page)
    return [(name, float(mean)) for name, mean in found]


def test_files_that_agree(finished: Path) -> None:
    page = write_sweep_report(finished)
    data = json.loads((page.parent / "report.json").read_text())
    assert table(page.read_text()) == [(x["name"], x["mean"]) for x in data["ranking"]]
    assert data["answer"] in outside_scripts(page.read_text()).replace("&#34;", '"')
    with Image.open(page.parent / "ranking.png") as picture:
        assert min(picture.size) > 200
    clips = [name for n in (1, 2, 3) for name in (f"attention-{n}.html", f"clip-{n}.png")]
    assert sorted(p.name for p in page.parent.iterdir()) == sorted(
        ["index.html", "ranking.png", "report.json", *clips]
    )


def test_it_asks_no_network(finished: Path) -> None:
    page = outside_scripts(write_sweep_report(finished).read_text())
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert "@import" not in page
    assert "url(" not in page


def test_300_runs_are_quick_and_small(made_up: Make, tmp_path: Path) -> None:
    """With 200 evaluations each, and a validation of 2,000 clips."""
    text = "a sentence of some twelve words as they are in such corpora"
    samples = [
        TranslationSample(f"clip{n}", "signer 1", 99, f"{text} {n}", text, 50.0, False)
        for n in range(2000)
    ]
    report = made_up(trials=300, samples=samples)
    began = time.perf_counter()
    page = write_report(tmp_path, report)
    assert time.perf_counter() - began < 20
    assert page.stat().st_size < 6e6, page.stat().st_size


def test_texts_cannot_break_out(made_up: Make, tmp_path: Path) -> None:
    sample = TranslationSample(EVIL, EVIL, 5, EVIL, EVIL, 1.0, False)
    report = made_up(question=EVIL, answer=EVIL, notes=[EVIL], samples=[sample], sweep=EVIL)
    page = write_report(tmp_path, report).read_text()
    assert "<img src=x" not in page
    assert page.count("<script>alert") == 0
    data = re.search(r'<script id="sample-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1]) == [asdict(sample)]


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 0, "curves": []},
        {"trials": 1},
        {"sanity": {}, "test": {}, "parts": [], "notes": [], "samples": []},
        {"parameters": {}, "winner_values": {}},
        {"failures": ["trial 3 failed: ValueError: <nan>"]},
    ],
)
def test_little_is_enough(made_up: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    page = write_report(tmp_path, made_up(**changes)).read_text()
    if changes.get("trials", 12) < 2:
        assert "too few" in page
    assert table(page) == [("trial 3", 20.0), ("untuned", 19.0)]


def test_several_objectives_have_a_front(made_up: Make, tmp_path: Path) -> None:
    trials = [
        TrialSummary(n, {RATE: 1e-4 * (n + 1)}, "finished", {"bleu": n, "decode_ms": n**2}, "", 1.0)
        for n in range(6)
    ]
    means = {"trial 3": {"bleu": 20.0, "decode_ms": 3.0}}
    two = {"objectives": {"bleu": "max", "decode_ms": "min"}, "means": means, "front": ["trial 3"]}
    page = write_report(tmp_path, replace(made_up(**two), trials=trials))
    assert "Pareto front" in page.read_text()
    assert "decode_ms (min)" in page.read_text()


def test_detection_rates_are_a_table(made_up: Make, tmp_path: Path) -> None:
    rows = [("split", "clips", "left hand"), ("train", "7", "43.0%")]
    page = write_report(tmp_path, made_up(quality=rows)).read_text()
    assert re.search(r'<h2 id="quality">.*left hand.*43\.0%', page, flags=re.DOTALL)
    assert 'id="quality"' not in write_report(tmp_path, made_up()).read_text()
