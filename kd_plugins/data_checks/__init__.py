"""Checks of annotation files, images, masks, volumes and point clouds before the first training step."""

from .entry import check_data_files

__all__ = ['check_data_files']
