"""The server that answers requests of judges."""

from collections.abc import Iterator

import pytest

from judge_server import JudgeServer, serve_judge
from judging import KEY


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with serve_judge() as running:
        yield running
