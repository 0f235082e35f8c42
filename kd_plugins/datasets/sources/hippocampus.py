"""Hippocampus of the Medical Segmentation Decathlon (task 4): magnetic-resonance crops with labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .archives import move_file
from .source import Source

# fmt: off
# Every volume i * 260 // 200 of the 260 labelled ones, sorted by name: those that the shipped results were measured on.
# As numbers, since NiftiDataset deals out all files of the folder, and one more would change every part.
NUMBERS = (
    1, 3, 4, 6, 8, 11, 14, 17, 19, 20, 24, 25, 26, 33, 35, 36, 37, 39, 40, 41, 44, 45, 46, 48, 50, 51, 52, 56,
    57, 58, 64, 65, 67, 68, 74, 75, 77, 84, 87, 88, 90, 91, 92, 93, 95, 96, 97, 99, 101, 102, 105, 106, 107,
    108, 114, 123, 124, 126, 127, 130, 133, 135, 136, 138, 142, 143, 144, 146, 148, 149, 152, 154, 155, 156,
    158, 160, 161, 163, 164, 165, 169, 170, 171, 172, 174, 175, 176, 178, 180, 181, 185, 188, 189, 190, 194,
    195, 197, 203, 204, 205, 210, 212, 215, 216, 219, 220, 221, 223, 224, 225, 227, 228, 229, 230, 232, 233,
    234, 236, 238, 242, 244, 245, 248, 249, 251, 252, 253, 259, 260, 261, 264, 265, 268, 269, 276, 277, 279,
    282, 286, 287, 289, 290, 292, 294, 296, 297, 298, 300, 301, 302, 304, 305, 308, 309, 311, 314, 316, 318,
    319, 320, 322, 325, 326, 327, 329, 330, 331, 333, 334, 335, 337, 338, 340, 341, 345, 349, 350, 352, 353,
    354, 356, 358, 359, 360, 363, 366, 367, 370, 372, 373, 375, 376, 378, 380, 383, 385, 386, 389, 390, 393,
)
# fmt: on


def lay_out(unpacked: Path, folder: Path, numbers: Sequence[int] = NUMBERS) -> None:
    """Move the volumes and their labels.

    Args:
        unpacked: Folder ``Task04_Hippocampus`` of the archive.
        folder: Gets ``images/`` and ``labels/``, with the same names in both.
        numbers: Numbers of the volumes.

    Raises:
        SourceError: If a volume is missing.
    """
    for kind in ('images', 'labels'):
        for number in numbers:
            name = f'hippocampus_{number:03d}.nii.gz'
            move_file(unpacked / f'{kind}Tr' / name, folder / kind / name)


# Address and MD5 are those of MONAI's DecathlonDataset. `contents` comes from the copy that the shipped results were
# measured on, which is not known to be the archive's byte by byte.
HIPPOCAMPUS = Source(
    name='hippocampus',
    about='200 magnetic-resonance crops of the hippocampus with labels; CC BY-SA 4.0; 28 MB',
    url='https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar',
    anchor='dataset.json',
    members=('imagesTr/hippocampus_', 'labelsTr/hippocampus_'),
    lay_out=lay_out,
    md5='9d24dba78a72977dbd1d2e110310f31b',
    contents='ecbb328920828b25828385581cd2534d2ae8c6ae391f3329588dd67ce32f7b6b',
    strict=False,
)

__all__ = ['HIPPOCAMPUS']
