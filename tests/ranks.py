"""Two gloo ranks on this machine, for tests that compare them with one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _rank(rank: int, folder: Path, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    torch.save(job(*arguments), folder / f'rank_{rank}.pt')
    dist.destroy_process_group()


def on_two_ranks(folder: Path, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run ``job(*arguments)`` on two ranks at once and return what each rank gave.

    Args:
        folder: An empty folder.
        job: A function of a module; ``torch.distributed.get_rank()`` tells it its rank.
        arguments: Its arguments, the same on both ranks.
    """
    mp.spawn(_rank, args=(folder, job, arguments), nprocs=2)
    return [torch.load(folder / f'rank_{rank}.pt') for rank in range(2)]
