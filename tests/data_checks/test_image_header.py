from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.data_checks.image_header import ImageHeader, read_header
from kd_plugins.data_checks.images import decode

from .made import image

Image = pytest.importorskip('PIL.Image')


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp', '.webp', '.tif', '.gif'])
def test_size_and_channels_of_usual_formats(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    image(path, 30, 20)
    channels = 1 if suffix == '.gif' else 3
    assert read_header(str(path)) == ImageHeader(30, 20, channels, 8)


@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_orientation_of_a_jpeg(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image(tmp_path / 'a.jpg', 30, 20, exif=exif, progressive=True)
    header = read_header(str(tmp_path / 'a.jpg'))
    assert header is not None and (header.orientation, header.width, header.complete) == (orientation, 30, True)


def test_bytes_between_the_segments_of_a_jpeg_are_skipped_as_by_its_readers(tmp_path):
    path = tmp_path / 'a.jpg'
    image(path, 30, 20)
    content = path.read_bytes()
    first = 4 + int.from_bytes(content[4:6], 'big')
    path.write_bytes(content[:first] + bytes(3) + content[first:])
    assert decode(str(path)).shape == (20, 30, 3)
    assert read_header(str(path)) == ImageHeader(30, 20, 3, 8)


def test_bits_of_a_png(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / 'a.png')
    assert read_header(str(tmp_path / 'a.png')) == ImageHeader(5, 4, 1, 16)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_file_that_is_cut_off_is_incomplete(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    image(path)
    path.write_bytes(path.read_bytes()[:-100])
    header = read_header(str(path))
    assert header is not None and not header.complete


@pytest.mark.parametrize('raw', [b'', b'text', b'\xff\xd8', b'\xff\xd8\xff\xe0\x00\x02', b'\x89PNG\r\n\x1a\n'])
def test_other_content_has_no_header(tmp_path, raw):
    path = tmp_path / 'a.jpg'
    path.write_bytes(raw)
    assert read_header(str(path)) is None
