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


def address_note(file: Path) -> Path:
    """Return the file with the address that another file was downloaded from."""
    return file.with_name(f'{file.name}.url')


def download(url: str, key: str) -> tuple[Path, bool]:
    """Download a file to the folder where PyTorch and MMEngine look for it, unless it is there.

    They look for the last part of the address alone, so two files called ``best.pth`` cannot both be there. The address
    of a download is kept beside it, without its query, to tell them apart.

    Args:
        url: Address.
        key: Config key for error sentences.

    Returns:
        The file, and whether this call has downloaded it.

    Raises:
        CheckpointError: If the file cannot be downloaded or written, or the file that is there is that of another
            address.
    """
    name = Path(urlparse(url).path).name
    if not name:
        raise CheckpointError(f"{key}: '{url}' names no file; nearest: '{url.rstrip('/')}/NAME.pth'")
    file = Path(hub.get_dir()) / 'checkpoints' / name
    note, address = address_note(file), url.partition('?')[0]
    if file.is_file():
        other = note.read_text(encoding='utf-8', errors='replace') if note.is_file() else address
        if other != address:
            raise CheckpointError(
                f"{key}: '{url}' has the name of '{other}', whose download is '{file}', where PyTorch and MMEngine "
                f'look for both; download one by other means and give its path, or delete that file'
            )
        return file, False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        hub.download_url_to_file(url, str(file))
        note.write_text(address, encoding='utf-8')
    except (HTTPException, OSError, ValueError) as error:
        raise CheckpointError(
            f"{key}: '{url}' cannot be downloaded ({reason_of(error)}); copy the file here by other means"
        ) from error
    return file, True
