"""Shared state of the checks of one config: the config, and files that were read before."""

from __future__ import annotations

from collections.abc import Hashable

from mmengine.config import Config

from .coco_file import CocoFile, read_coco


class Context:
    """State of one call of the data checks: each file is read once.

    Attributes:
        config: The resolved config.
        images: Config key of each data loader to the paths of its images.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.images: dict[str, set[str]] = {}
        self._files: dict[str, CocoFile] = {}
        self._checked: set[Hashable] = set()

    def coco_file(self, path: str) -> CocoFile:
        """Return the content of a COCO annotation file."""
        if path not in self._files:
            self._files[path] = read_coco(path)
        return self._files[path]

    def is_new(self, what: Hashable) -> bool:
        """Return whether this is asked for the first time about a file or folder, so that it has to be checked."""
        new = what not in self._checked
        self._checked.add(what)
        return new
