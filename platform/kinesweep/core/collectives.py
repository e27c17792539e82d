"""Collective communication between the processes of one run.

A single process skips all communication. Several processes use torch's process group, which the
caller (Ray Train) has initialized. `gather`, `run_on_rank_zero` and `barrier` are collectives: all
ranks must call them in the same order.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

V = TypeVar("V")


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes of the run."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_rank_zero() -> bool:
    """Return whether this process is rank 0, which writes the run's files."""
    return rank_and_world()[0] == 0


def gather(value: V) -> list[V]:
    """Return the values of all ranks in rank order, on every rank."""
    _, world = rank_and_world()
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    dist.all_gather_object(values, value)
    return values


def run_on_rank_zero(act: Callable[[], V]) -> V:
    """Call `act` on rank 0 only; return its value, or raise its exception, on all ranks.

    Without the exception, the other ranks would wait forever for a process that has ended.
    """
    rank, world = rank_and_world()
    if world == 1:
        return act()
    # Value and exception; both are pickled for the broadcast.
    said: list[Any] = [None, None]
    if rank == 0:
        try:
            said[0] = act()
        except Exception as error:
            said[1] = error
    dist.broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise said[1]
    return said[0]


def barrier() -> None:
    """Wait until every rank has reached this call."""
    if rank_and_world()[1] > 1:
        dist.barrier()
