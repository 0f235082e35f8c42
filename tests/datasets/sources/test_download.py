"""Downloads from a server on the loopback address that cuts connections, ignores ranges or changes the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kd_plugins.datasets.sources import SourceError, download
from kd_plugins.datasets.sources.download import download as fetch_file
from tests.datasets.sources.archive_server import Served, serve

BODY = np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, 'PAUSE', 0.0)


class Shown(list):
    def __call__(self, done: int, total: int | None) -> None:
        self.append((done, total))


def start(server: Served, part: Path) -> Shown:
    """Download until the server sends nothing more."""
    shown = Shown()
    server.cuts = [1_000_000, 0]
    with pytest.raises(SourceError, match='cannot be downloaded .* goes on from here, .* --archive FILE'):
        fetch_file(server.url, part, shown)
    server.cuts, server.requests = [], []
    assert 0 < part.stat().st_size < len(BODY)
    return shown


def test_a_whole_file(tmp_path: Path) -> None:
    shown = Shown()
    with serve(BODY) as server:
        fetch_file(server.url, tmp_path / 'data' / 'set.part', shown)
    assert (tmp_path / 'data' / 'set.part').read_bytes() == BODY
    assert server.requests == [None]
    assert shown[0] == (0, len(BODY)) and shown[-1] == (len(BODY), len(BODY)) and shown == sorted(shown)


def test_a_cut_connection_goes_on_by_itself(tmp_path: Path) -> None:
    with serve(BODY, cuts=[1_000_000, 500_000]) as server:
        fetch_file(server.url, tmp_path / 'set.part', Shown())
    assert (tmp_path / 'set.part').read_bytes() == BODY
    assert server.requests[0] is None and server.requests[1:] == ['bytes=1000000-', 'bytes=1500000-']


def test_a_later_call_goes_on_with_the_same_file(tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    with serve(BODY) as server:
        start(server, part)
        there = part.stat().st_size
        shown = Shown()
        fetch_file(server.url, part, shown)
    assert server.requests == [f'bytes={there}-']
    assert part.read_bytes() == BODY and shown[0] == (there, len(BODY))


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    with serve(BODY, ranges=False, cuts=[1_000_000]) as server:
        fetch_file(server.url, tmp_path / 'set.part', Shown())
    assert server.requests == [None, 'bytes=1000000-']
    assert (tmp_path / 'set.part').read_bytes() == BODY


def test_a_file_that_changed_starts_again(tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    with serve(BODY) as server:
        start(server, part)
        server.body, server.etag = BODY[::-1], '"2"'
        fetch_file(server.url, part, Shown())
    assert part.read_bytes() == BODY[::-1]


def test_a_file_of_another_origin_stays(tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    part.write_bytes(b'mine')
    with pytest.raises(SourceError, match=r"set\.part' is there, and this command did not write it; move it"):
        fetch_file('http://localhost:9/set.zip', part, Shown())
    assert part.read_bytes() == b'mine'


def test_a_part_from_another_address_is_not_continued(tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    with serve(BODY) as server, serve(BODY[::-1]) as mirror:
        start(server, part)
        fetch_file(mirror.url, part, Shown())
        assert mirror.requests == [None]
    assert part.read_bytes() == BODY[::-1]


@pytest.mark.parametrize('more', [b'', b'too much'])
def test_a_part_that_is_whole_or_too_long(more: bytes, tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    part.write_bytes(BODY + more)
    with serve(BODY) as server:
        part.with_name('set.part.json').write_text(json.dumps({'url': server.url, 'version': server.etag}))
        fetch_file(server.url, part, Shown())
    assert part.read_bytes() == BODY
    assert len(server.requests) == (2 if more else 1)


def test_a_server_that_tells_no_length(tmp_path: Path) -> None:
    shown = Shown()
    with serve(BODY, length=False) as server:
        fetch_file(server.url, tmp_path / 'set.part', shown)
    assert (tmp_path / 'set.part').read_bytes() == BODY
    assert shown[-1] == (len(BODY), None)


def test_sentences(tmp_path: Path) -> None:
    part = tmp_path / 'set.part'
    with (
        serve(BODY, status=404) as server,
        pytest.raises(SourceError, match='answers 404 Not Found; .*--url.*--archive'),
    ):
        fetch_file(server.url, part, Shown())
    with pytest.raises(SourceError, match=r'127.0.0.1:\d+/archive cannot be downloaded \(Connection refused\)'):
        fetch_file(server.url, part, Shown())
    with pytest.raises(SourceError, match="'file:///etc/passwd' is no http or https address"):
        fetch_file('file:///etc/passwd', part, Shown())
    assert not part.exists()
