"""Two gloo ranks on this machine, for tests that compare them with one process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Imported once, by the server that the ranks are forked from: that takes seconds, and each test needs it twice. The
# first name of this package that a registry looks up imports the models, with scikit-learn, SciPy and pandas.
PRELOAD = (
    'kd_plugins.commands.train',
    'mmdet.apis',
    'mmdet.models',
    'mmdet.visualization',
    'mmpose.models',
    'kd_plugins.models',
)


def _rank(
    rank: int, folder: Path, environment: dict[str, str], job: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    # A server of forks has the variables of its own start.
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    os.environ['LOCAL_RANK'] = str(rank)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
    torch.save(job(*arguments), folder / f'rank_{rank}.pt')
    dist.destroy_process_group()


def warm_method() -> str:
    """Return the name of the method that starts processes from a warm server, where there is one."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        return 'spawn'
    multiprocessing.set_forkserver_preload([name for name in PRELOAD if find_spec(name.partition('.')[0])])
    return 'forkserver'


def on_two_ranks(folder: Path, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Run ``job(*arguments)`` on two ranks at once and return what each rank gave.

    Args:
        folder: An empty folder.
        job: A function of a module; ``torch.distributed.get_rank()`` tells it its rank.
        arguments: Its arguments, the same on both ranks.
    """
    mp.start_processes(_rank, args=(folder, dict(os.environ), job, arguments), nprocs=2, start_method=warm_method())
    return [torch.load(folder / f'rank_{rank}.pt') for rank in range(2)]
