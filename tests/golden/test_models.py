"""Tiny seeded models give the figures under version control, within 1e-4."""

import importlib.util
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "models"
SPEC = importlib.util.spec_from_file_location("golden_models", HERE / "generate.py")
assert SPEC is not None and SPEC.loader is not None
golden = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(golden)


@pytest.mark.parametrize("architecture", golden.SCRATCH)
def test_figures_are_kept(architecture: str) -> None:
    expected = json.loads(golden.EXPECTED.read_text())[architecture]
    got = golden.figures(architecture)
    assert got["beams"] == expected["beams"]
    for key in ("loss", "logits", "losses"):
        assert got[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-4), key
