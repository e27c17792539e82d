"""What Ray Data may still say while it works for us."""

import logging

from kinesweep.store.extraction.ray_logging import silence_ray_data


def test_false_alarms_are_off_and_warnings_stay() -> None:
    pool = logging.getLogger("ray.data._internal.execution.resource_manager")
    execution = logging.getLogger("ray.data._internal.execution.streaming_executor")
    before = pool.level, execution.getEffectiveLevel()
    with silence_ray_data():
        assert not pool.isEnabledFor(logging.WARNING)
        assert execution.isEnabledFor(logging.WARNING)
        assert not execution.isEnabledFor(logging.INFO)
    assert (pool.level, execution.getEffectiveLevel()) == before
