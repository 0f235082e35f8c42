"""Archives with the layout of the real sources and a few tiny files, or with the files of the real data."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets.sources import SOURCES, Source, hippocampus, lspet

DATA = Path(__file__).resolve().parents[4] / 'shared' / 'data'
Files = Mapping[str, bytes]


def zip_of(files: Files) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar_of(files: Files, links: Mapping[str, str] | None = None) -> bytes:
    """Return a tar archive.

    Args:
        files: Member name to content.
        links: Member name of a symbolic link to what it points to.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()


def image(suffix: str, width: int, height: int, seed: int = 0) -> bytes:
    """Return an encoded image of random pixels, 0 or 255."""
    cv2 = pytest.importorskip('cv2')
    pixels = np.random.default_rng(seed).integers(0, 2, (height, width)) * 255
    return bytes(cv2.imencode(suffix, pixels.astype(np.uint8))[1].tobytes())


def voc(boxes: Mapping[str, tuple[int, int, int, int]], width: int = 32, height: int = 24) -> bytes:
    """Return an annotation in VOC's format.

    Args:
        boxes: ``CLASS`` or ``CLASS NUMBER`` to xmin, ymin, xmax, ymax.
        width: Of the image.
        height: Of the image.
    """
    objects = ''.join(
        f'<object><name>{name.split()[0]}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>'
        f'<ymax>{y2}</ymax></bndbox></object>'
        for name, (x1, y1, x2, y2) in boxes.items()
    )
    size = f'<size><width>{width}</width><height>{height}</height><depth>3</depth></size>'
    return f'<annotation><filename>another.jpg</filename>{size}{objects}</annotation>'.encode()


def bccd_files() -> dict[str, bytes]:
    """Return the files of a repository like BCCD's, with four images."""
    root = 'BCCD_Dataset-d272/'
    names = {'train': [1], 'val': [2], 'trainval': [1, 2], 'test': [3, 4]}
    files = {f'{root}LICENSE': b'MIT', f'{root}README.md': b'cells', f'{root}scripts/split.py': b'unused'}
    for split, numbers in names.items():
        lines = ''.join(f'BloodImage_{number:05d}\n' for number in numbers)
        files[f'{root}BCCD/ImageSets/Main/{split}.txt'] = lines.encode()
    for number in range(1, 5):
        boxes = {'WBC': (2, 3, 12, 9), 'RBC': (1, 1, 5, 6 + number), 'Platelets': (7, 7, 7, 7)}
        files[f'{root}BCCD/Annotations/BloodImage_{number:05d}.xml'] = voc(boxes)
        files[f'{root}BCCD/JPEGImages/BloodImage_{number:05d}.jpg'] = image('.jpg', 32, 24, number)
    return files


def isbi_files() -> dict[str, bytes]:
    """Return the files of a repository like the one with ISBI's slices."""
    root = 'unet-b45/'
    files = {f'{root}LICENSE': b'MIT', f'{root}data/membrane/train-volume.tif': b'unused'}
    for index in range(30):
        for kind in ('image', 'label'):
            files[f'{root}data/membrane/train/{kind}/{index}.png'] = image('.png', 8, 8, index)
    return files


def hippocampus_files(numbers: tuple[int, ...] = (1, 3)) -> dict[str, bytes]:
    """Return the files of an archive like the Decathlon's, with files that macOS adds."""
    root = 'Task04_Hippocampus/'
    files = {f'{root}dataset.json': b'{}', f'{root}._dataset.json': b'x'}
    for number in numbers:
        for kind, content in (('images', number), ('labels', 1)):
            name = f'hippocampus_{number:03d}.nii.gz'
            files[f'{root}{kind}Tr/{name}'] = nifti(content)
            files[f'{root}{kind}Tr/._{name}'] = b'x'
    return files


def nifti(value: int) -> bytes:
    """Return a compressed NIfTI file of 4x4x4 voxels."""
    nibabel = pytest.importorskip('nibabel')
    volume = nibabel.Nifti1Image(np.full((4, 4, 4), value, np.uint8), np.eye(4))
    return gzip.compress(volume.to_bytes(), mtime=0)


def lspet_files(joints: np.ndarray, photographs: Files) -> dict[str, bytes]:
    """Return the files of an archive like LSPE's.

    Args:
        joints: Shape (14, 3, N).
        photographs: File name to content.
    """
    scipy_io = pytest.importorskip('scipy.io')
    stream = io.BytesIO()
    scipy_io.savemat(stream, {'joints': joints})
    return {
        'joints.mat': stream.getvalue(),
        'README.txt': b'athletes',
        **{f'images/{name}': content for name, content in photographs.items()},
    }


def some_joints(count: int) -> np.ndarray:
    """Return joints inside 40x60 pixels, all visible but one of the second person."""
    generator = np.random.default_rng(0)
    joints = np.ones((14, 3, count))
    joints[:, 0] = generator.uniform(5, 35, (14, count))
    joints[:, 1] = generator.uniform(5, 55, (14, count))
    joints[4, 2, 1] = 0
    return joints


def tiny_source(name: str) -> tuple[Source, bytes]:
    """Return a source without hashes and an archive of its layout with a few generated files."""
    source = replace(SOURCES[name], md5=None, contents=None)
    if name == 'bccd':
        return source, zip_of(bccd_files())
    if name == 'isbi':
        return source, zip_of(isbi_files())
    if name == 'hippocampus':
        return replace(source, lay_out=partial(hippocampus.lay_out, numbers=(1, 3))), tar_of(hippocampus_files())
    photographs = {f'im{number:05d}.jpg': image('.jpg', 40, 60, number) for number in range(1, 8)}
    lay_out = partial(lspet.lay_out, left_out=(3,), sizes={'train': 3, 'val': 1})
    return replace(source, lay_out=lay_out), zip_of(lspet_files(some_joints(7), photographs))


def read_json(path: Path) -> dict:
    """Return the content of a json file."""
    return json.loads(path.read_text(encoding='utf-8'))
