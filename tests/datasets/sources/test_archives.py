"""Unpacking: what is taken, and which archives are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kd_plugins.datasets.sources import SourceError
from kd_plugins.datasets.sources.archives import move_file, unpack
from tests.datasets.sources.tiny_archives import tar_of, zip_of

FILES = {'top/a.txt': b'a', 'top/data/1.txt': b'1', 'top/data/deep/2.txt': b'2', 'top/other/3.txt': b'3'}


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('pack', [zip_of, tar_of])
def test_members_by_prefix_without_the_top_folder(pack: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / 'archive').write_bytes(pack(FILES))
    unpack(tmp_path / 'archive', 'data/1.txt', ('data/', 'a.txt'), tmp_path / 'out')
    assert names(tmp_path / 'out') == ['a.txt', 'data/1.txt', 'data/deep/2.txt']
    assert (tmp_path / 'out' / 'data' / 'deep' / '2.txt').read_bytes() == b'2'


@pytest.mark.parametrize('name', ['../evil', 'top/data/../../../evil', '/evil', 'C:/evil', 'top\\..\\evil'])
@pytest.mark.parametrize('pack', [zip_of, tar_of])
def test_members_that_lead_out_are_refused(pack: Callable[..., bytes], name: str, tmp_path: Path) -> None:
    folder = tmp_path / 'deep' / 'er'
    folder.mkdir(parents=True)
    (folder / 'archive').write_bytes(pack({**FILES, name: b'evil'}))
    with pytest.raises(SourceError, match='has a member that leads out of the folder'):
        unpack(folder / 'archive', 'data/1.txt', ('',), folder / 'out')
    assert names(tmp_path) == ['deep/er/archive']


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / 'archive').write_bytes(tar_of({'top/link/1.txt': b'1'}, links={'top/link': '/etc'}))
    with pytest.raises(SourceError, match="has a link or a device among its members, 'top/link'"):
        unpack(tmp_path / 'archive', '1.txt', ('',), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (b'<html>Not the archive</html>', 'is no archive or is damaged'),
        (zip_of(FILES)[:-30], 'is no archive or is damaged'),
        (tar_of({'top/data/1.txt': bytes(5000)})[:2000], 'is no archive or is damaged'),
        (zip_of({'x': b'x'}), "has no 'data/1.txt'; it is not the archive of this data set"),
    ],
)
def test_other_files_are_refused(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / 'archive').write_bytes(content)
    with pytest.raises(SourceError, match=match):
        unpack(tmp_path / 'archive', 'data/1.txt', ('',), tmp_path / 'out')


def test_damaged_bytes_inside_are_found(tmp_path: Path) -> None:
    content = bytearray(zip_of({'data/1.txt': bytes(range(256)) * 4}))
    content[80] ^= 0xFF
    (tmp_path / 'archive').write_bytes(bytes(content))
    with pytest.raises(SourceError, match='is no archive or is damaged'):
        unpack(tmp_path / 'archive', 'data/1.txt', ('',), tmp_path / 'out')


def test_move_file(tmp_path: Path) -> None:
    (tmp_path / 'a').write_bytes(b'a')
    move_file(tmp_path / 'a', tmp_path / 'b' / 'c')
    assert names(tmp_path) == ['b/c']
    with pytest.raises(SourceError, match="the archive has no 'images/1.jpg'"):
        move_file(tmp_path / 'images' / '1.jpg', tmp_path / 'd')
