from __future__ import annotations

import numpy as np
import pytest

from kd_plugins.data_checks import images
from kd_plugins.data_checks.images import check_images, decode, spread, within
from kd_plugins.errors import ConfigError

from .made import SIDE, image

Image = pytest.importorskip('PIL.Image')
pytest.importorskip('cv2')


def check(paths, size=(SIDE, SIDE)):
    return check_images([str(path) for path in paths], [size] * len(paths), 'train_dataloader.dataset', 'a.json')


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f'{index}.jpg' for index in range(3)]
    for path in made:
        image(path)
    return made


def test_readable_images_of_the_annotated_size_pass(paths):
    assert check(paths) == []


def test_a_missing_image_is_named_with_the_nearest(paths):
    with pytest.raises(ConfigError, match=r"1\.JPG' does not exist \(1 of 1 files .* nearest: '1\.jpg'"):
        check([paths[1].with_suffix('.JPG')])
    with pytest.raises(ConfigError, match='nor does its folder'):
        check([paths[1].parent / 'no' / '1.jpg'])


@pytest.mark.parametrize(
    ('keep', 'sentence'),
    [(0, r"1\.jpg' is empty; copy it again"), (20, 'not a readable image'), (700, 'cut off|no end mark')],
)
def test_an_image_that_is_empty_or_cut_off(paths, keep, sentence):
    paths[1].write_bytes(paths[1].read_bytes()[:keep])
    try:
        said = '; '.join(check(paths))  # some versions of OpenCV fill the rest with grey
    except ConfigError as error:
        said = str(error)
    with pytest.raises(ConfigError, match=sentence):
        raise ConfigError(said)


def test_another_size_is_refused(paths):
    image(paths[1], 40, 30)
    with pytest.raises(ConfigError, match=r"1\.jpg' is 40x30 pixels and 'a\.json' says 64x64"):
        check(paths)


def test_images_that_exif_turns(paths):
    exif = Image.Exif()
    exif[0x0112] = 6
    image(paths[0], 40, 30, exif=exif)
    assert check(paths[:1], (30, 40)) == []
    with pytest.raises(ConfigError, match=r'EXIF orientation 6, so that it is loaded as 30x40, .* annotates 40x30'):
        check(paths[:1], (40, 30))
    exif[0x0112] = 3
    image(paths[0], exif=exif)
    assert 'orientation 3' in check(paths)[0]


def test_images_of_twelve_bits_turn_black(tmp_path):
    path = tmp_path / 'a.png'
    values = np.random.RandomState(0).randint(0, 4096, (SIDE, SIDE)).astype(np.uint16)
    Image.fromarray(values).save(path)
    with pytest.raises(ConfigError, match=r'16 bits per channel and values up to 40\d\d only, .*\(16 grey levels\)'):
        check([path])
    Image.fromarray(values * 16).save(path)
    assert 'more than 8 bits' in check([path])[0]


def test_items_are_read_evenly_until_the_time_is_over():
    assert sorted(spread(range(1000))) == list(range(1000))
    assert (
        sorted(within(list(range(100)), 0.0, 4)) == [0, 32, 64, 96] or len(list(within(list(range(100)), 0.0, 4))) == 4
    )
    assert list(spread([])) == []


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_orientation_of_every_format_is_that_of_the_loader(tmp_path, kind):
    """The loaded size decides: which formats OpenCV turns depends on its version."""
    picture, exif = Image.new('RGB', (40, 64)), Image.Exif()
    exif[0x0112] = 6
    path = str(tmp_path / 'a.jpg')
    picture.save(path, kind, exif=exif)
    for color_type in ('color', 'color_ignore_orientation'):
        height, width = decode(path, color_type).shape[:2]
        assert not [
            note for note in check_images([path], [(width, height)], 'key', 'a.json', color_type) if 'EXIF' in note
        ]
        if (width, height) != (40, 64):
            with pytest.raises(ConfigError, match='(loaded as|is) 64x40'):
                check_images([path], [(40, 64)], 'key', 'a.json', color_type)


def test_what_is_no_file(tmp_path):
    (tmp_path / 'a.jpg').mkdir()
    (tmp_path / 'b.jpg').symlink_to(tmp_path / 'nowhere')
    for name, sentence in (('a.jpg', 'is not a file'), ('b.jpg', 'a link to a file that does not exist')):
        with pytest.raises(ConfigError, match=sentence):
            check_images([str(tmp_path / name)], [None], 'key', 'a.json')


def test_floating_point_images_are_refused(tmp_path):
    path = str(tmp_path / 'a.tiff')
    Image.fromarray(np.ones((8, 8), np.float32)).save(path)
    with pytest.raises(ConfigError, match=r"a.tiff' has 32 bits per channel, which loaders cannot read"):
        check_images([path], [(8, 8)], 'key', 'a.json')


def test_the_files_of_a_slow_disk_are_not_all_looked_at(paths, monkeypatch):
    """On a network file system, the sizes of a million files take a quarter of an hour."""
    many = [paths[0].with_name(f'link_{number}.jpg') for number in range(images.FIRST + 9)]
    for path in many:
        path.hardlink_to(paths[0])
    looked_at = []
    monkeypatch.setattr(images, 'SECONDS', -1.0)
    monkeypatch.setattr(images, '_check_file', lambda path, file: looked_at.append(path))
    assert check(many) == ['train_dataloader.dataset: 256 of 265 images were opened, evenly over the data set']
    assert len(looked_at) == images.FIRST
