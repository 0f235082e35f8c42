"""From the archive to the folder: resumed, verified, whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kd_plugins.datasets.sources import Source, SourceError, download, fetch, fetching, find_finished
from kd_plugins.errors import MissingDependencyError
from tests.datasets.sources.archive_server import serve
from tests.datasets.sources.tiny_archives import bccd_files, tiny_source, zip_of

SOURCE, ARCHIVE = tiny_source('bccd')
NAMES = [
    'LICENSE',
    'README.md',
    'SHA256SUMS',
    *(f'coco/{split}.json' for split in ('test', 'train', 'trainval', 'val')),
]


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def failing(error: BaseException) -> Source:
    """Return the source with a layout that writes a file and fails."""

    def lay_out(unpacked: Path, folder: Path) -> None:
        (folder / 'half').write_text('made')
        raise error

    return replace(SOURCE, lay_out=lay_out)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / 'mine.zip'
    path.write_bytes(ARCHIVE)
    return path


def test_a_data_set_is_fetched_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'data' / 'bccd'
    assert find_finished(SOURCE, out) is None
    with serve(ARCHIVE) as server:
        made = fetch(SOURCE, out, url=server.url)
    assert names(out) == sorted([*NAMES, *(f'JPEGImages/BloodImage_{number:05d}.jpg' for number in range(1, 5))])
    assert made.files == 10 and names(tmp_path / 'data') == [f'bccd/{name}' for name in names(out)]
    assert made.contents == hashlib.sha256((out / 'SHA256SUMS').read_bytes()).hexdigest()
    assert 'bccd: 100 % of' in capsys.readouterr().out
    assert find_finished(SOURCE, out) == made
    (out / 'mine.json').write_text('{}')  # files of the user do not matter
    assert find_finished(replace(SOURCE, contents=made.contents), out) == made


def test_a_run_that_was_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, 'PAUSE', 0.0)
    out = tmp_path / 'bccd'
    with serve(ARCHIVE, cuts=[1000, 0]) as server:
        with pytest.raises(SourceError, match='goes on from here'):
            fetch(SOURCE, out, url=server.url)
        assert names(tmp_path) == ['bccd.part', 'bccd.part.json'] and not out.exists()
        server.requests.clear()
        fetch(SOURCE, out, url=server.url)
        assert server.requests == ['bytes=1000-']
    assert find_finished(SOURCE, out) is not None and names(tmp_path) == [f'bccd/{name}' for name in names(out)]


@pytest.mark.parametrize('stop', [KeyboardInterrupt(), OSError(errno.ENOSPC, 'No space left on device')])
def test_a_run_that_was_stopped_keeps_the_download_and_no_half_folder(stop: BaseException, tmp_path: Path) -> None:
    out = tmp_path / 'bccd'
    with serve(ARCHIVE) as server:
        with pytest.raises((KeyboardInterrupt, SourceError)) as caught:
            fetch(failing(stop), out, url=server.url)
        assert names(tmp_path) == ['bccd.part', 'bccd.part.json'] and not out.exists()
        fetch(SOURCE, out, url=server.url)
        assert server.requests == [None, f'bytes={len(ARCHIVE)}-']
    if isinstance(stop, OSError):
        assert 'no space is left on the disk' in str(caught.value)


def test_what_a_killed_run_leaves_is_removed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / '.bccd.unpacked' / 'tree').mkdir(parents=True)
    (tmp_path / '.bccd.unpacked' / 'tree' / 'half').write_text('made')
    made = fetch(SOURCE, tmp_path / 'bccd', archive=archive)
    assert made.files == 10 and not (tmp_path / '.bccd.unpacked').exists()


def test_a_wrong_archive_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / 'neighbour.part').write_text('stays')
    source = replace(SOURCE, md5='0' * 32)
    actual = hashlib.md5(ARCHIVE).hexdigest()
    sentence = f'bccd.part. is not the archive of bccd: expected MD5 {"0" * 32}, found {actual}$'
    with serve(ARCHIVE) as server, pytest.raises(SourceError, match=sentence):
        fetch(source, tmp_path / 'bccd', url=server.url)
    assert names(tmp_path) == ['neighbour.part']
    assert fetch(replace(source, md5=actual), tmp_path / 'bccd', archive=write(tmp_path / 'a.zip', ARCHIVE)).files == 10


def test_wrong_contents_are_an_error_where_the_source_is_strict(archive: Path, tmp_path: Path) -> None:
    source = replace(SOURCE, contents='0' * 64)
    with pytest.raises(
        SourceError, match='contents of bccd are not the expected ones: expected SHA-256 0{64} .* found'
    ):
        fetch(source, tmp_path / 'bccd', archive=archive)
    assert names(tmp_path) == ['mine.zip']  # the user's own archive stays
    made = fetch(replace(source, strict=False), tmp_path / 'bccd', archive=archive)
    assert made.contents != source.contents
    assert find_finished(replace(source, strict=False), tmp_path / 'bccd') == made
    with pytest.raises(SourceError, match='lists another data set or version'):
        find_finished(source, tmp_path / 'bccd')


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ('lacking', 'match'),
    [
        ('BCCD/ImageSets/Main/val.txt', "the archive has no 'Main/val.txt'"),
        ('BCCD/ImageSets/Main/train.txt', "has no 'BCCD/ImageSets/Main/train.txt'; it is not the archive"),
        ('BCCD/Annotations/BloodImage_00002.xml', "the archive has no 'Annotations/BloodImage_00002.xml'"),
        ('LICENSE', "the archive has no 'archive/LICENSE'"),
    ],
)
def test_an_archive_that_lacks_a_file(lacking: str, match: str, tmp_path: Path) -> None:
    files = {name: content for name, content in bccd_files().items() if not name.endswith(lacking)}
    with pytest.raises(SourceError, match=match):
        fetch(SOURCE, tmp_path / 'bccd', archive=write(tmp_path / 'a.zip', zip_of(files)))
    assert names(tmp_path) == ['a.zip']


def test_an_archive_that_leads_out_is_refused(tmp_path: Path) -> None:
    evil = zip_of({**bccd_files(), 'top/../../evil': b'evil'})
    with serve(evil) as server, pytest.raises(SourceError, match='leads out of the folder'):
        fetch(SOURCE, tmp_path / 'data' / 'bccd', url=server.url)
    assert names(tmp_path) == []


def test_a_changed_folder_is_not_taken_for_the_data_set(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'bccd'
    fetch(SOURCE, out, archive=archive)
    (out / 'coco' / 'val.json').write_text('{}')
    with pytest.raises(SourceError, match=r"coco/val.json' is missing or was changed; remove '.*bccd'"):
        find_finished(SOURCE, out)
    (out / 'SHA256SUMS').unlink()
    for source in (SOURCE, replace(SOURCE, contents='0' * 64)):
        with pytest.raises(SourceError, match='holds other files; name another folder'):
            find_finished(source, out)
    with pytest.raises(SourceError, match='is a file; name a folder'):
        find_finished(SOURCE, archive)


def test_a_copy_without_sums_counts(archive: Path, tmp_path: Path) -> None:
    made = fetch(SOURCE, tmp_path / 'bccd', archive=archive)
    (tmp_path / 'bccd' / 'SHA256SUMS').unlink()
    assert find_finished(replace(SOURCE, contents=made.contents), tmp_path / 'bccd') == made


@pytest.mark.parametrize('linked', [False, True])
def test_an_empty_folder_is_filled(linked: bool, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'bccd'
    (tmp_path / 'elsewhere').mkdir()
    if linked:
        out.symlink_to(tmp_path / 'elsewhere')
    else:
        out.mkdir()
    assert find_finished(SOURCE, out) is None
    assert fetch(SOURCE, out, archive=archive) == find_finished(SOURCE, out)
    assert out.is_symlink() == linked


def test_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"--archive: '.*absent.zip' does not exist"):
        fetch(SOURCE, tmp_path / 'bccd', archive=tmp_path / 'absent.zip')
    with pytest.raises(SourceError, match="'.' names no folder that can be made; name one, for example data/bccd"):
        fetch(SOURCE, Path('.'))
    with pytest.raises(MissingDependencyError, match="the package 'no_such_package' is not installed"):
        fetch(replace(SOURCE, packages=('os', 'no_such_package')), tmp_path / 'bccd')
    monkeypatch.setattr(fetching, 'unpack', deny)
    with pytest.raises(SourceError, match=r"mine' cannot be read or written \(Permission denied\)"):
        fetch(SOURCE, tmp_path / 'bccd', archive=write(tmp_path / 'a.zip', ARCHIVE))


def deny(*arguments: Any) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), 'mine')
