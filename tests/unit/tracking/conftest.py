"""No test reads a person's settings of trackers or writes into their folders."""

import pytest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path_factory):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path_factory.mktemp("wandb")
    monkeypatch.setenv("NETRC", str(folder / "netrc"))
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(folder))
