"""Checksums as sha256sum writes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kd_plugins.datasets.sources.checksums import SUMS, checksums, digest_of, first_difference, hash_file


def test_sums_by_hand(tmp_path: Path) -> None:
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'x').write_bytes(b'x')
    (tmp_path / 'a.txt').write_bytes(b'')
    (tmp_path / SUMS).write_text('the file itself does not count')
    sums = checksums(tmp_path)
    lines = [f'{hashlib.sha256(content).hexdigest()}  {name}' for name, content in (('a.txt', b''), ('b/x', b'x'))]
    assert sums == '\n'.join(lines) + '\n'
    assert digest_of(sums) == hashlib.sha256(sums.encode()).hexdigest()
    assert hash_file(tmp_path / 'b' / 'x', 'md5') == hashlib.md5(b'x').hexdigest()


def test_the_first_difference_is_named(tmp_path: Path) -> None:
    for name in ('a', 'b', 'c'):
        (tmp_path / name).write_text(name)
    sums = checksums(tmp_path)
    assert first_difference(tmp_path, sums) is None
    (tmp_path / 'more').write_text('not listed')
    assert first_difference(tmp_path, sums) is None
    (tmp_path / 'b').write_text('changed')
    (tmp_path / 'c').unlink()
    assert first_difference(tmp_path, sums) == 'b'
    (tmp_path / 'a').unlink()
    assert first_difference(tmp_path, sums) == 'a'
