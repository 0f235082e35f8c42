"""BCCD: blood-cell micrographs with boxes, converted from PASCAL VOC's XML to COCO's json."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from .archives import move_file
from .coco import Entry, write_coco
from .source import Source, SourceError

COMMIT = 'd272fb14cdff6e473fafeeeba32aba5f560e9e43'
CLASSES = ('RBC', 'WBC', 'Platelets')
SPLITS = ('train', 'val', 'trainval', 'test')


def lay_out(unpacked: Path, folder: Path) -> None:
    """Move the images and write ``coco/SPLIT.json`` for the splits of the source.

    Args:
        unpacked: Top folder of the repository.
        folder: Gets ``JPEGImages/``, ``coco/``, ``LICENSE`` and ``README.md``.

    Raises:
        SourceError: If a file is missing or cannot be read.
    """
    categories = [{'id': index, 'name': name} for index, name in enumerate(CLASSES, start=1)]
    voc = unpacked / 'BCCD'
    for split in SPLITS:
        names = read_text(voc / 'ImageSets' / 'Main' / f'{split}.txt').split()
        entries = [read_voc(voc / 'Annotations' / f'{name}.xml', name) for name in names]
        write_coco(folder / 'coco' / f'{split}.json', entries, categories)
    for image in sorted(voc.glob('JPEGImages/*.jpg')):
        move_file(image, folder / 'JPEGImages' / image.name)
    for name in ('LICENSE', 'README.md'):
        move_file(unpacked / name, folder / name)


def read_voc(path: Path, name: str) -> tuple[Entry, list[Entry]]:
    """Return an image and its annotations in COCO's terms from an XML file in PASCAL VOC's.

    Args:
        path: The XML file.
        name: Name of the image without its suffix. The files of the source name other images in places.

    Raises:
        SourceError: If the file is missing, or has no such elements.
    """
    try:
        tree = ElementTree.fromstring(read_text(path))
        width, height = (int(tree.findtext(f'size/{side}', '')) for side in ('width', 'height'))
        boxes = []
        for element in tree.iter('object'):
            x1, y1, x2, y2 = (float(element.findtext(f'bndbox/{key}', '')) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
            category = CLASSES.index(element.findtext('name', '')) + 1
            if x2 > x1 and y2 > y1:  # two boxes of the source are points
                box = [x1, y1, x2 - x1, y2 - y1]
                boxes.append({'category_id': category, 'bbox': box, 'area': box[2] * box[3]})
    except (ElementTree.ParseError, ValueError) as error:
        raise SourceError(f"'{path.name}' of the archive is no annotation in VOC format ({error})") from error
    return {'file_name': f'{name}.jpg', 'width': width, 'height': height}, boxes


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        SourceError: If the archive did not have it.
    """
    try:
        return path.read_text(encoding='utf-8')
    except FileNotFoundError as error:
        raise SourceError(f"the archive has no '{path.parent.name}/{path.name}'") from error


BCCD = Source(
    name='bccd',
    about='364 blood-cell micrographs with boxes of 3 classes; MIT license; 8 MB',
    url=f'https://github.com/Shenggan/BCCD_Dataset/archive/{COMMIT}.zip',
    anchor='BCCD/ImageSets/Main/train.txt',
    members=('BCCD/', 'LICENSE', 'README.md'),
    lay_out=lay_out,
    contents='5666c051967bcdaeed980469aa389fe72d268aac0ec6c8cd14ba8bb11fe35874',
)

__all__ = ['BCCD']
