"""Build hook: the wheel carries configs and tools as OpenMMLab packages do, under ``kd_plugins/.mim``.

An editable install skips them: copies would silently grow stale beside the checkout's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MimBuildHook(BuildHookInterface):
    """Add ``configs/`` and ``tools/`` to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to include.

        Args:
            version: ``'standard'`` or ``'editable'``.
            build_data: What hatchling builds from; changed in place.
        """
        if version == 'editable':
            return
        root = Path(self.root)
        for folder in ('configs', 'tools'):
            for path in sorted((root / folder).rglob('*')):
                if path.is_file() and '__pycache__' not in path.parts:
                    relative = path.relative_to(root).as_posix()
                    build_data['force_include'][relative] = f'kd_plugins/.mim/{relative}'
