"""Downloads into PyTorch's folder, and their errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kd_plugins.errors import CheckpointError
from kd_plugins.utils.urls import download
from tests.file_server import serve


def test_the_file_lies_where_pytorch_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    torch.save({'x': torch.ones(1)}, tmp_path / 'x.pth')
    with serve({'a%20b.pth': (tmp_path / 'x.pth').read_bytes()}) as address:
        file, is_new = download(f'{address}/a%20b.pth?token=1', 'load_from')
        assert is_new and download(f'{address}/a%20b.pth', 'load_from') == (file, False)
    # Nobody serves it now.
    loaded = torch.hub.load_state_dict_from_url(f'{address}/a%20b.pth', progress=False)
    assert loaded['x'].item() == 1.0


def test_two_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with serve({'first/best.pth': b'1', 'second/best.pth': b'2'}) as address:
        file, _ = download(f'{address}/first/best.pth?token=1', 'load_from')
        assert download(f'{address}/first/best.pth', 'load_from') == (file, False)
        with pytest.raises(
            CheckpointError, match=r"x: '\S+/second/best.pth' has the name of '\S+/first/best.pth', whose"
        ):
            download(f'{address}/second/best.pth', 'x')
        file.unlink()
        assert download(f'{address}/second/best.pth', 'x')[1] and file.read_bytes() == b'2'
        # What PyTorch or MMEngine has downloaded has no note.
        (file.parent / 'best.pth.url').unlink()
        assert download(f'{address}/first/best.pth', 'x') == (file, False)


@pytest.mark.parametrize(
    ('url', 'sentence'),
    [
        ('{address}/missing.pth', r"load_from: '\S+/missing.pth' cannot be downloaded \(404 Not Found\); copy"),
        ('http://127.0.0.1:9/x.pth', r'cannot be downloaded \(Connection refused\)'),
        ('http://no.such.host.invalid/x.pth', r'cannot be downloaded \('),
        ('{address}/a b.pth', r"cannot be downloaded \(URL can't contain control characters"),
        ('{address}/', r"names no file; nearest: '\S+/NAME.pth'"),
    ],
)
def test_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with serve({}) as address, pytest.raises(CheckpointError, match=sentence):
        download(url.format(address=address), 'load_from')
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]
