"""ISBI 2012: electron-microscopy slices with membrane masks, from the copy as PNG files in zhixuhao/unet."""

from __future__ import annotations

from pathlib import Path

from .archives import move_file
from .source import Source

COMMIT = 'b45af4d458437d8281cc218a07fd4380818ece4a'
SLICES = 30


def lay_out(unpacked: Path, folder: Path) -> None:
    """Move the labelled slices.

    Args:
        unpacked: Top folder of the repository.
        folder: Gets ``image/``, ``label/`` and ``LICENSE``, which is that of the repository.

    Raises:
        SourceError: If a slice is missing.
    """
    for kind in ('image', 'label'):
        for index in range(SLICES):
            name = f'{index}.png'
            move_file(unpacked / 'data' / 'membrane' / 'train' / kind / name, folder / kind / name)
    move_file(unpacked / 'LICENSE', folder / 'LICENSE')


ISBI = Source(
    name='isbi',
    about='30 electron-microscopy slices with membrane masks; challenge data, for research; 35 MB',
    url=f'https://github.com/zhixuhao/unet/archive/{COMMIT}.zip',
    anchor='data/membrane/train/image/0.png',
    members=('data/membrane/train/image/', 'data/membrane/train/label/', 'LICENSE'),
    lay_out=lay_out,
    contents='911d7f3649b1675b1b664ed54468c59ff64533bbfc79095eab37e0d58bb97725',
)

__all__ = ['ISBI']
