"""What Ray Train raises becomes an error for people, and is retried only where that can help."""

import pytest
import ray.train
import torch
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.failure_handling import FailureDecision

from kinesweep.core.errors import InputError, KinesweepError, ResourceError, TrainingError
from kinesweep.training.distributed.ray_train import UserErrorPolicy, find_user_error

KILLED = WorkerHealthCheckFailedError("a worker health check failed", ActorDiedError())
OUT_OF_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
OUT_OF_RAM = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate")


def failed(**failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("text", dict(enumerate(failures.values())))


@pytest.mark.parametrize(
    "error", [InputError("a clip is too long"), OUT_OF_GPU, OUT_OF_RAM, MemoryError()]
)
def test_an_error_that_would_occur_again_is_not_retried(error: Exception) -> None:
    policy = UserErrorPolicy(ray.train.FailureConfig(max_failures=1))
    assert policy.make_decision(failed(a=KILLED, b=error)) == FailureDecision.RAISE


def test_workers_that_died_are_replaced_once() -> None:
    policy = UserErrorPolicy(ray.train.FailureConfig(max_failures=1))
    assert policy.make_decision(failed(a=KILLED)) == FailureDecision.RETRY
    assert policy.make_decision(failed(a=KILLED)) == FailureDecision.RAISE


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (failed(a=KILLED, b=InputError("too long")), InputError, "^too long$"),
        (failed(a=KILLED), TrainingError, "killed twice.*batch.max_clip_frames"),
        (failed(a=OUT_OF_GPU), ResourceError, "Tried to allocate 2.00 GiB.*batch.max_frames"),
        (failed(a=OUT_OF_RAM), ResourceError, "memory is exhausted"),
        (failed(a=KILLED, b=MemoryError()), ResourceError, "memory is exhausted"),
        (
            RayTaskError("f", "traceback", InputError("too long")).as_instanceof_cause(),
            InputError,
            "too long",
        ),
    ],
)
def test_the_reason_is_found(error: Exception, kind: type[KinesweepError], text: str) -> None:
    found = find_user_error(error)
    assert isinstance(found, kind)
    with pytest.raises(kind, match=text):
        raise found


def test_a_bug_stays_one() -> None:
    assert find_user_error(failed(a=KeyError("x"))) is None
    assert find_user_error(ZeroDivisionError()) is None
