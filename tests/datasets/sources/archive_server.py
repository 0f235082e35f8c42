"""A server on the loopback address that serves one file, with the faults that downloads meet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Served:
    """A file as the server gives it; tests change the attributes between requests.

    Attributes:
        body: Its bytes.
        ranges: Whether the server knows ``Range``.
        etag: The version mark.
        length: Whether it tells the length.
        status: Answers this instead of the file.
        cuts: For each request to come, how many bytes are sent before the connection is cut; later ones are whole.
        requests: The ``Range`` header of each request, ``None`` for a request without.
        url: Address of the file.
    """

    body: bytes
    ranges: bool = True
    etag: str = '"1"'
    length: bool = True
    status: int = 200
    cuts: list[int] = field(default_factory=list)
    requests: list[str | None] = field(default_factory=list)
    url: str = ''


@contextmanager
def serve(body: bytes, **options: Any) -> Iterator[Served]:
    """Serve a file until the block ends."""
    served = Served(body, **options)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, served)

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
        thread.start()
        served.url = f'http://127.0.0.1:{server.server_address[1]}/archive'
        yield served
        server.shutdown()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    """Answer one request."""
    asked = handler.headers.get('Range')
    served.requests.append(asked)
    if served.status != 200:
        handler.send_error(served.status)
        return
    start = 0
    if served.ranges and asked and handler.headers.get('If-Range', served.etag) == served.etag:
        start = int(re.findall(r'\d+', asked)[0])
    if start and start >= len(served.body):
        handler.send_response(416)
        handler.send_header('Content-Range', f'bytes */{len(served.body)}')
        handler.send_header('Content-Length', '0')
        handler.end_headers()
        return
    rest = served.body[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header('Content-Range', f'bytes {start}-{len(served.body) - 1}/{len(served.body)}')
    if served.length:
        handler.send_header('Content-Length', str(len(rest)))
    handler.send_header('ETag', served.etag)
    handler.end_headers()
    handler.wfile.write(rest[: served.cuts.pop(0)] if served.cuts else rest)
