"""Collective communication between the processes of one run.

A single process skips all communication. Several processes use torch's process group, which the
caller (Ray Train) has initialized. `all_gather`, `run_on_rank_zero` and `barrier` are collectives:
all ranks must call them in the same order.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

V = TypeVar("V")


def get_rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes; (0, 1) without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_rank_zero() -> bool:
    """Return whether this process is rank 0, which writes the run's files.

    A process without a process group is rank 0.
    """
    return get_rank_and_world_size()[0] == 0


def all_gather(value: V) -> list[V]:
    """Collect a value from every rank; return the values of all ranks in rank order.

    Args:
        value: Value of this rank, which must be picklable.
    """
    _, world_size = get_rank_and_world_size()
    if world_size == 1:
        return [value]
    # torch fills the list in place, so it needs one item per rank beforehand.
    values: list[Any] = [None] * world_size
    dist.all_gather_object(values, value)
    return values


def run_on_rank_zero(function: Callable[[], V]) -> V:
    """Call a function on rank 0 only; return its value, or raise its exception, on all ranks.

    Without the exception, the other ranks would wait forever for a process that has ended.

    Args:
        function: Function whose value and exceptions must be picklable.

    Raises:
        Exception: Whatever the function raises on rank 0.
    """
    rank, world_size = get_rank_and_world_size()
    if world_size == 1:
        return function()
    # Value and exception; both are pickled for the broadcast.
    result_and_error: list[Any] = [None, None]
    if rank == 0:
        try:
            result_and_error[0] = function()
        except Exception as error:
            result_and_error[1] = error
    dist.broadcast_object_list(result_and_error, src=0)
    if result_and_error[1] is not None:
        raise result_and_error[1]
    return result_and_error[0]


def barrier() -> None:
    """Wait until every rank has reached this call; a single process continues at once."""
    if get_rank_and_world_size()[1] > 1:
        dist.barrier()
