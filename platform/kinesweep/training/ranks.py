"""What the processes of one run say to each other.

One process talks to nobody and pays nothing; several use torch's process group, which the caller
has started (Ray Train does). Every function here is a collective: all ranks call it, in the same
order.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist

V = TypeVar("V")


def rank_and_world() -> tuple[int, int]:
    """This process's rank, and how many processes the run has."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return rank_and_world()[0] == 0


def gather(value: V) -> list[V]:
    """The ranks' values in rank order, on every rank."""
    _, world = rank_and_world()
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    dist.all_gather_object(values, value)
    return values


def on_first(act: Callable[[], V]) -> V:
    """Runs `act` on rank 0 alone and gives its value to all; its exception is raised on all.

    Without the second half the other ranks would wait for a process that is gone.
    """
    rank, world = rank_and_world()
    if world == 1:
        return act()
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


def wait_for_all() -> None:
    """Returns once every rank has come here."""
    if rank_and_world()[1] > 1:
        dist.barrier()
