"""What a server refuses or a file lacks reaches people as a sentence and holds nothing back."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.tracking import sweep_runs
from kinesweep.tracking.mlflow_client import (
    MlflowServerClient,
    RequestRejectedError,
    ServerUnavailableError,
)
from kinesweep.tracking.offline_queue import QueuedRecord
from kinesweep.tracking.record_calls import send_record


class Calls:
    """A client that answers with given values, and notes what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, []

    def call_client(self, method: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(method)
        return self.answers.get(method)


@pytest.mark.parametrize("content", ["id\tGrüße\n".encode("latin-1"), b"a\t\x00\xff", b"\xff\xfea"])
def test_a_table_that_is_not_utf8_holds_nothing_back(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "texts.tsv"
    path.write_bytes(content)
    calls = Calls()
    record = QueuedRecord("artifact", {"path": str(path)}, 0, 0, 0)
    send_record(calls, "run", record)  # type: ignore[arg-type]
    assert calls.asked == ["log_artifact"]
    assert "is not shown as a table" in caplog.text


@pytest.mark.parametrize(
    "error", [RequestRejectedError("a bad filter"), ServerUnavailableError("x")]
)
def test_a_refused_search_is_a_tracking_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Refusing:
        def __init__(self, _: str) -> None:
            pass

        def find_experiment_id(self, _: str) -> str:
            raise error

    monkeypatch.setattr(sweep_runs, "MlflowServerClient", Refusing)
    for query in (sweep_runs.query_sweep_runs, sweep_runs.find_parent_run_id):
        with pytest.raises(TrackingError, match=str(error)):
            query("http://127.0.0.1:1", "question", "/sweeps/a")


@pytest.mark.parametrize(("stage", "found"), [("active", "7"), ("deleted", None)])
def test_a_deleted_experiment_is_not_found(stage: str, found: str | None) -> None:
    experiment = SimpleNamespace(experiment_id=7, lifecycle_stage=stage)
    client: Any = SimpleNamespace(call_client=Calls(get_experiment_by_name=experiment).call_client)
    assert MlflowServerClient.find_experiment_id(client, "question") == found
