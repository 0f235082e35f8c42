"""Download of a file over HTTP that goes on where it was cut."""

from __future__ import annotations

import json
import re
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ...utils.urls import reason_of
from ...version import __version__
from .progress import Show
from .source import SourceError

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
PAUSE = 1.0  # seconds between two connections
CONNECTIONS = 20
RANGE_NOT_SATISFIABLE = 416
PARTIAL_CONTENT = 206


class ConnectionCut(Exception):
    """A transfer that ended early; the next connection may go on from there."""


def download(url: str, part: Path, show: Show) -> None:
    """Download a file, or what is missing of it.

    A connection that is cut is made again as long as each brings something. What has arrived stays in ``part``. A file
    of the same name with ``.json`` appended keeps the address and the server's version mark (ETag or date), so that a
    later call goes on with the same file or starts again.

    Args:
        url: An ``http`` or ``https`` address.
        part: Where the bytes go.
        show: Told the bytes that are there and the bytes in all.

    Raises:
        SourceError: If the address cannot be reached, the server refuses, or stops sending, or ``part`` is a file of
            another origin.
    """
    if not url.startswith(('http://', 'https://')):
        raise SourceError(f"'{url}' is no http or https address; a file on this machine is given with --archive")
    if size_of(part) and not sidecar(part).is_file():
        raise SourceError(f"'{part}' is there, and this command did not write it; move it, or name another folder")
    part.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(CONNECTIONS):
        before = size_of(part)
        try:
            transfer(url, part, show)
            return
        except ConnectionCut as cut:
            reason = str(cut)
            if size_of(part) <= before:
                break
        time.sleep(PAUSE)
    raise SourceError(
        f'{url} cannot be downloaded ({reason}); the same command goes on from here, or download it by other means and '
        'add --archive FILE'
    )


def transfer(url: str, part: Path, show: Show) -> None:
    """Make one connection and append what it brings.

    Raises:
        ConnectionCut: If the server cannot be reached or stops early.
        SourceError: If the server refuses.
    """
    headers = resume_headers(url, part)
    try:
        response = urlopen(
            Request(url, headers={'User-Agent': f'kd_plugins/{__version__}', **headers}), timeout=TIMEOUT
        )
    except HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE and headers:
            if total_of(error.headers.get('Content-Range')) != size_of(part):
                forget(part)
                transfer(url, part, show)
            return
        raise SourceError(
            f'{url} answers {error.code} {error.reason}; name a mirror with --url, or download the file by other means '
            'and add --archive FILE'
        ) from error
    except (URLError, HTTPException, OSError) as error:
        raise ConnectionCut(reason_of(error)) from error
    with response:
        start = start_of(response)
        if start not in (0, size_of(part)):
            raise SourceError(f'{url} answers with bytes from {start} where {size_of(part)} was asked for')
        if start == 0:
            remember(url, part, response)
        receive(response, part, start, show)


def receive(response: HTTPResponse, part: Path, start: int, show: Show) -> None:
    """Write the body of an answer into a file.

    Raises:
        ConnectionCut: If it ends early.
    """
    length = response.headers.get('Content-Length')
    total = start + int(length) if length is not None and length.isdigit() else None
    done = start
    with part.open('ab' if start else 'wb') as file:
        show(done, total)
        while True:
            try:
                chunk = response.read(CHUNK)
            except (HTTPException, OSError) as error:
                raise ConnectionCut(reason_of(error)) from error
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            show(done, total)
    if total is not None and done < total:
        raise ConnectionCut(f'the connection ended after {done} of {total} bytes')


def resume_headers(url: str, part: Path) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; none where nothing of this address has arrived."""
    try:
        origin = json.loads(sidecar(part).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        origin = {}
    if size_of(part) == 0 or origin.get('url') != url:
        forget(part)
        return {}
    headers = {'Range': f'bytes={size_of(part)}-'}
    if origin.get('version'):
        headers['If-Range'] = origin['version']
    return headers


def remember(url: str, part: Path, response: HTTPResponse) -> None:
    """Write the address of a file and the server's version mark beside the part that is going to arrive."""
    etag = response.headers.get('ETag', '')
    version = etag if etag.startswith('"') else response.headers.get('Last-Modified', '')  # a weak ETag cannot be used
    part.unlink(missing_ok=True)
    sidecar(part).write_text(json.dumps({'url': url, 'version': version}), encoding='utf-8')


def forget(part: Path) -> None:
    """Remove what has arrived of a file."""
    part.unlink(missing_ok=True)
    sidecar(part).unlink(missing_ok=True)


def sidecar(part: Path) -> Path:
    """Return the file that keeps address and version mark of a part."""
    return part.with_name(f'{part.name}.json')


def size_of(part: Path) -> int:
    """Return how many bytes have arrived."""
    return part.stat().st_size if part.is_file() else 0


def start_of(response: HTTPResponse) -> int:
    """Return the position of an answer's first byte in the file: 0 where the server does not know ranges."""
    if response.status != PARTIAL_CONTENT:
        return 0
    start = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
    return int(start.group(1)) if start else -1


def total_of(content_range: str | None) -> int | None:
    """Return the size of a file as a ``Content-Range`` header names it.

    >>> total_of('bytes */1234')
    1234
    """
    total = re.search(r'/(\d+)$', content_range or '')
    return int(total.group(1)) if total else None


__all__ = ['download', 'forget']
