"""The command from the name to the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kd_plugins.commands import data
from kd_plugins.datasets.sources import SOURCES
from tests.datasets.sources.archive_server import serve
from tests.datasets.sources.tiny_archives import tiny_source

SOURCE, ARCHIVE = tiny_source('isbi')


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SOURCES, 'isbi', SOURCE)
    return tmp_path


def test_the_default_folder_is_filled_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(ARCHIVE) as server:
        assert data.main(['isbi', '--url', server.url]) == 0
        out = capsys.readouterr().out
        assert f'isbi: from {server.url}' in out and 'isbi: 61 files in data/isbi' in out and SOURCE.about in out
        assert 'no hash is known to compare it with' in out
        assert data.main(['isbi', '--url', server.url]) == 0
        assert len(server.requests) == 1
    assert 'isbi: already there, 61 files in data/isbi' in capsys.readouterr().out
    assert (folder / 'data' / 'isbi' / 'image' / '29.png').is_file()


def test_an_archive_of_the_user_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'mine.zip').write_bytes(ARCHIVE)
    assert data.main(['isbi', 'other/place', '--archive', 'mine.zip']) == 0
    assert 'isbi: 61 files in other/place' in capsys.readouterr().out
    assert (folder / 'mine.zip').is_file() and not (folder / 'data').exists()


@pytest.mark.parametrize(('strict', 'status'), [(True, 2), (False, 0)])
def test_other_contents(
    strict: bool, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    monkeypatch.setitem(SOURCES, 'isbi', replace(SOURCE, contents='0' * 64, strict=strict))
    (folder / 'mine.zip').write_bytes(ARCHIVE)
    assert run(['isbi', '--archive', 'mine.zip']) == status
    err = capsys.readouterr().err
    if strict:
        assert err.startswith('error: the contents of isbi are not the expected ones') and err.count('\n') == 1
    else:
        assert err.startswith('note: isbi: the contents differ from those that the shipped results were measured on')


def run(arguments: list[str]) -> int | str | None:
    """Return the exit status, also where the command leaves through ``SystemExit``."""
    try:
        return data.main(arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (['isbi', '--url', 'http://127.0.0.1:9/absent'], 'error: http://127.0.0.1:9/absent cannot be downloaded ('),
        (['isbi', '--archive', 'absent.zip'], "error: --archive: 'absent.zip' does not exist"),
        (['isbi', '--url', 'x', '--archive', 'y'], 'not allowed with argument'),
        (['kitti'], "invalid choice: 'kitti'"),
    ],
)
def test_sentences(arguments: list[str], match: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert match in capsys.readouterr().err


def test_interruption(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, 'fetch', interrupt)
    assert data.main(['isbi']) == 130
    assert 'interrupted; the same command goes on from here' in capsys.readouterr().err
