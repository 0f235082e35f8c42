"""Files of pictures, photographs below them and probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_plugins.errors import ConfigError
from kd_plugins.utils.figures import new_figure
from kd_plugins.visualization.pictures import check_picture_name, read_image, save_picture, softmax


@pytest.mark.parametrize('name', ['a.png', 'folder/a.PDF', 'a.b.svg', 'a.jpg'])
def test_known_formats(name: str) -> None:
    check_picture_name(name)


@pytest.mark.parametrize('name', ['a.pgn', 'a', 'png'])
def test_unknown_formats(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--out: '{name}' does not end in a known format; .*'png'"):
        check_picture_name(name)


def test_a_picture_is_saved_with_its_folders(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    path = tmp_path / 'a' / 'b.png'
    figure = new_figure(2, 1)
    figure.subplots().plot([0, 1])
    save_picture(figure, str(path))
    assert path.read_bytes().startswith(b'\x89PNG')


def test_a_picture_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    """As of ``show refinement --top 300``, a row for each detection."""
    pytest.importorskip('matplotlib')
    sentence = r"b\.png' would have 120 x 72000 pixels, .* at most 65500 on a side; draw less, or nearest: '.*b\.pdf'"
    with pytest.raises(ConfigError, match=sentence):
        save_picture(new_figure(1, 600), str(tmp_path / 'b.png'))
    save_picture(new_figure(1, 600), str(tmp_path / 'b.svg'))


def test_photographs_are_rgb(tmp_path: Path) -> None:
    cv2 = pytest.importorskip('cv2')
    pytest.importorskip('mmcv')
    blue = np.zeros((4, 5, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV writes blue, green, red
    cv2.imwrite(str(tmp_path / 'blue.png'), blue)
    assert read_image(str(tmp_path / 'blue.png'))[0, 0].tolist() == [0, 0, 255]


def test_what_is_no_photograph(tmp_path: Path) -> None:
    pytest.importorskip('mmcv')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'text.png').write_text('no image')
    for path in (tmp_path / 'empty.png', tmp_path / 'text.png', tmp_path):
        with pytest.raises(ConfigError, match=r"^image: '.*' is not an image that OpenCV can read$"):
            read_image(str(path))


def test_softmax_of_large_numbers() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4], [0.0, np.log(3.0)]])), [[0.5, 0.5], [0.25, 0.75]])
