"""Files that are complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_plugins.utils.files import is_complete, missing_files, names_in, write_atomically


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / 'a' / 'b' / 'c.bin'
    write_atomically(path, b'first')
    write_atomically(path, b'second')
    assert path.read_bytes() == b'second' and [file.name for file in path.parent.iterdir()] == ['c.bin']


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError('No space left on device')

    path = tmp_path / 'c.bin'
    path.write_bytes(b'old')
    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space'):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'


@pytest.mark.parametrize(
    ('text', 'complete'),
    [
        ('{"info": {"seed": 1}}', True),
        ('{"info": {"seed": 2}}', False),
        ('{"images": []}', False),
        ('[1]', False),
        ('{"info": {"se', False),
        (None, False),
    ],
)
def test_a_split_is_complete_when_its_annotations_say_so(tmp_path: Path, text: str | None, complete: bool) -> None:
    if text is not None:
        (tmp_path / 'train.json').write_text(text)
    assert is_complete(tmp_path / 'train.json', {'seed': 1}) is complete


def test_files_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / '1.png').touch()
    paths = [str(tmp_path / name) for name in ('a/1.png', 'a/2.png', 'b/1.png', 'a/../a/1.png')]
    assert missing_files(paths) == paths[1:3]
    assert names_in(str(tmp_path / 'a')) == {'1.png'} and names_in(str(tmp_path / 'b')) == set()
    # A relative name without a folder lies in the working folder.
    monkeypatch.chdir(tmp_path / 'a')
    assert missing_files(['1.png', '2.png']) == ['2.png']
