"""Which files of a made split stay, go or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.datasets.split_folder import SplitFolder
from kd_plugins.errors import ConfigError


def open_split(root: Path, **info: Any) -> SplitFolder:
    ann_file = root / 'annotations' / 'train.json'
    more = (ann_file.with_name('train_more.json'),)
    return SplitFolder(root / 'train', '.png', {'description': 'drawn', **info}, ann_file, more)


def make(root: Path, names: list[str], finish: bool = True) -> None:
    files = open_split(root, names=len(names), first=names[:1])
    assert files.begin()
    for name in names:
        files.write(name, name.encode())
    if finish:
        files.remove_earlier()
        images = [{'file_name': name} for name in names]
        files.ann_file.write_text(json.dumps({'info': files.info, 'images': images}))


def names_in(root: Path) -> list[str]:
    return sorted(path.name for path in (root / 'train').iterdir())


def test_samples_of_an_earlier_split_go_and_other_files_stay(tmp_path: Path) -> None:
    make(tmp_path, ['a.png', 'b.png'])
    assert not open_split(tmp_path, names=2, first=['a.png']).begin()
    for name in ('mine.png', '000007.png', 'notes.txt'):
        (tmp_path / 'train' / name).touch()
    make(tmp_path, ['b.png', 'c.png'])
    assert names_in(tmp_path) == ['000007.png', 'b.png', 'c.png', 'mine.png', 'notes.txt']
    with pytest.raises(ConfigError, match=r"^OUT: '.*mine\.png' is there, and this command did not write it"):
        make(tmp_path, ['mine.png'])
    assert (tmp_path / 'train' / 'mine.png').read_bytes() == b''


@pytest.mark.parametrize('hidden', [True, False])
def test_samples_of_an_interrupted_split_go(tmp_path: Path, hidden: bool) -> None:
    make(tmp_path, ['a.png'])
    if not hidden:  # as a split of an earlier version, whose names the annotations alone hold
        (tmp_path / 'annotations' / '.train.written').unlink()
    (tmp_path / 'annotations' / 'train_more.json').write_text('{"info": {"description": "drawn"}}')
    make(tmp_path, ['b.png'], finish=False)
    # No annotations name images that are no longer there.
    assert [path.name for path in (tmp_path / 'annotations').iterdir()] == ['.train.written']
    make(tmp_path, ['c.png'])
    assert names_in(tmp_path) == ['c.png']


def test_samples_of_truncated_annotations_go(tmp_path: Path) -> None:
    make(tmp_path, ['a.png'])
    ann_file = tmp_path / 'annotations' / 'train.json'
    ann_file.write_text(ann_file.read_text()[:40])
    make(tmp_path, ['b.png'])
    assert names_in(tmp_path) == ['b.png']


@pytest.mark.parametrize('name', ['train.json', 'train_more.json'])
def test_annotations_of_another_origin_are_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path, ['a.png'])
    ann_file = tmp_path / 'annotations' / name
    ann_file.write_text('{"images": [{"file_name": "a.png"}]}')
    with pytest.raises(ConfigError, match=rf"^OUT: '.*{name}' is not a file of this command \(drawn\); name another"):
        open_split(tmp_path, names=3).begin()
    assert ann_file.is_file() and names_in(tmp_path) == ['a.png']


def test_a_folder_of_other_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'photo.png').touch()
    with pytest.raises(ConfigError, match=r"^OUT: '.*photo\.png' is there, and nothing says that this command wrote"):
        open_split(tmp_path).begin()


def test_two_processes_make_the_same_split(tmp_path: Path) -> None:
    first, second = open_split(tmp_path, seed=1), open_split(tmp_path, seed=1)
    assert first.begin()
    first.write('a.png', b'1')
    assert second.begin()
    first.write('b.png', b'2')
    for name in ('a.png', 'b.png'):
        second.write(name, b'3')
    for files in (first, second):
        files.remove_earlier()
    assert names_in(tmp_path) == ['a.png', 'b.png']
