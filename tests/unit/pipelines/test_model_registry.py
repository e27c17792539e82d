"""A registration that was interrupted is finished by the next call."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kinesweep.core.errors import TrackingError
from kinesweep.pipelines.sweeps import model_registry
from kinesweep.tracking.registry import ModelVersion


class Registry:
    """A registry in memory whose server is lost at a given step of the first registration."""

    versions: list[ModelVersion]

    def __init__(self, lost_at: str) -> None:
        self.versions, self.champion, self.lost_at = [], None, lost_at

    def lose(self, step: str) -> None:
        if self.lost_at == step:
            self.lost_at = ""
            raise TrackingError("gone")

    def find_version_by_tag(self, *_: str) -> ModelVersion | None:
        return self.versions[-1] if self.versions else None

    def get_champion(self, _: str) -> ModelVersion | None:
        return self.champion

    def register_version(self, _: str, run_id: str, __: Path, tags: Any) -> ModelVersion:
        self.versions.append(ModelVersion("1", run_id, tags))
        return self.versions[-1]

    def record_decision(
        self, _: str, version: ModelVersion, is_champion: bool, reason: str
    ) -> None:
        self.lose("before the alias")
        self.champion = version if is_champion else self.champion
        self.lose("after the alias")
        self.versions[-1] = ModelVersion(version.number, version.run_id, version.tags, reason)


@pytest.mark.parametrize("lost_at", ["before the alias", "after the alias"])
def test_a_version_without_a_decision_is_decided(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost_at: str
) -> None:
    registry = Registry(lost_at)
    monkeypatch.setattr(model_registry, "ModelRegistry", lambda _: registry)
    for name, answer in (
        ("read_json", {}),
        ("read_predictions", []),
        ("_compute_comparison_key", "key"),
        ("_compare_with_champion", (True, "it is the first version")),
        ("find_parent_run_id", "run"),
        ("_upload_predictions", None),
    ):
        monkeypatch.setattr(model_registry, name, lambda *_, answer=answer, **__: answer)
    outcome: Any = SimpleNamespace(
        winner_runs=["c-s1"], metric="bleu", question="Which?", ranking=[]
    )
    tracker: Any = SimpleNamespace(uri="http://localhost", experiment="q")

    def register() -> str:
        return model_registry.register_winner(
            tracker,
            tmp_path,
            "model",
            outcome,
            None,
            tmp_path,  # type: ignore[arg-type]
        )

    with pytest.raises(TrackingError):
        register()
    assert "version 1, champion" in register()
    assert registry.champion is not None and len(registry.versions) == 1
    assert registry.versions[0].reason
    assert register().endswith("already registered")
