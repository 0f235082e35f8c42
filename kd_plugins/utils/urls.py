"""Files behind a URL, and the words for a failed connection."""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse

from torch import hub

from ..errors import CheckpointError


def is_url(path: str) -> bool:
    """Return whether a path is an address of the web.

    >>> is_url('https://example.com/a.pth'), is_url('s3://bucket/a.pth')
    (True, False)
    """
    return path.startswith(('http://', 'https://'))


def reason_of(error: Exception) -> str:
    """Return why a connection failed, in a few words.

    >>> reason_of(URLError(ConnectionRefusedError(111, 'Connection refused')))
    'Connection refused'
    """
    if isinstance(error, HTTPError):
        return f'{error.code} {error.reason}'
    cause = error.reason if isinstance(error, URLError) else error
    return (getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__).strip()


def download(url: str, key: str) -> tuple[Path, bool]:
    """Download a file to the folder where PyTorch and MMEngine look for it, unless it is there.

    Args:
        url: Address.
        key: Config key for error sentences.

    Returns:
        The file, and whether this call has downloaded it.

    Raises:
        CheckpointError: If the file cannot be downloaded or written.
    """
    name = Path(urlparse(url).path).name
    if not name:
        raise CheckpointError(f"{key}: '{url}' names no file; nearest: '{url.rstrip('/')}/NAME.pth'")
    file = Path(hub.get_dir()) / 'checkpoints' / name
    if file.is_file():
        return file, False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        hub.download_url_to_file(url, str(file))
    except (HTTPException, OSError, ValueError) as error:
        raise CheckpointError(
            f"{key}: '{url}' cannot be downloaded ({reason_of(error)}); copy the file here by other means"
        ) from error
    return file, True
