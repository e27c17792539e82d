"""The house itself: `platform/` must never shadow the standard library's module."""

import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_platform_is_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert platform.python_version()
    asked = "import platform, uuid; print(platform.system())"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_cheap() -> None:
    asked = "import sys, kinesweep; print(sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    path = {"PYTHONPATH": str(ROOT / "platform"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", asked], env=path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_everything_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert all("==" in pin and "@" not in pin for pin in pins)
