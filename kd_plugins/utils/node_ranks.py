"""Order of the ranks on one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import barrier, get_rank, is_distributed


def is_first_on_node() -> bool:
    """Return whether this is the first rank on its machine; the launchers set ``LOCAL_RANK``."""
    return int(os.environ.get('LOCAL_RANK', get_rank())) == 0


@contextmanager
def first_on_node_first() -> Iterator[None]:
    """Let the first rank of each machine pass before the others, for example to download a file that all read.

    Every rank must enter the context.
    """
    if is_distributed() and not is_first_on_node():
        barrier()
    try:
        yield
    finally:
        # The others also go on when the first one has failed.
        if is_distributed() and is_first_on_node():
            barrier()
