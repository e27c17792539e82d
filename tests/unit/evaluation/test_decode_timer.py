"""The decoding time of a rank does not contain the time in which it waits for other ranks."""

import time
from typing import Any

import pytest

from kinesweep.config.recipe.generation import GenerationConfig
from kinesweep.data.evaluation import FixedBatches
from kinesweep.evaluation import decoding


def test_waiting_for_other_ranks_is_not_decoding_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(value: Any) -> list[Any]:
        time.sleep(0.3)
        return [value, {"of another rank": "x"}]

    def decode(model: Any, tokenizer: Any, batch: Any, *_: Any) -> dict[str, str]:
        time.sleep(0.01)
        return dict.fromkeys(batch, "text")

    monkeypatch.setattr(decoding, "all_gather", wait)
    monkeypatch.setattr(decoding, "_decode_batch", decode)
    nothing: Any = None
    batches = FixedBatches([["a", "b"], ["c"]])  # type: ignore[list-item]
    timer = decoding.DecodeTimer()
    texts = decoding.decode_batches(nothing, nothing, batches, 1, GenerationConfig(), timer)
    assert len(texts) == 4 and timer.num_clips == 3
    assert 0.02 <= timer.seconds < 0.3
