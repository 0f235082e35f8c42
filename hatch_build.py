"""Build hook: a wheel carries configs, tools and the model index under ``kd_plugins/.mim``, as OpenMMLab packages do.

In a checkout, ``kd_plugins/.mim`` holds links to them, which an editable installation reads in place of copies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = ('configs', 'tools', 'model-index.yml')


class MimBuildHook(BuildHookInterface):
    """Add what ``mim`` and MMEngine look for to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to include.

        Args:
            version: ``'standard'`` or ``'editable'``.
            build_data: Settings of the build; changed in place.
        """
        if version == 'editable':
            return
        for name in CARRIED:
            build_data['force_include'][str(Path(self.root) / name)] = f'kd_plugins/.mim/{name}'
