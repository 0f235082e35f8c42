"""Outputs of a model and of the modules that a distiller names, for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..distillers.base import Taps
from ..taps import TapSet


def tapped(model: Any, key: str, paths: Mapping[str, str], inputs: Tensor) -> tuple[Any, Taps]:
    """Run a model and return its raw output, and what the modules at some paths returned.

    Args:
        model: A model of OpenMMLab.
        key: Config key of the distiller, for error sentences.
        paths: Name to tap, as a distiller gives them.
        inputs: Preprocessed images.

    Raises:
        TapError: If a path does not exist or its module did not run.
    """
    taps = TapSet(model, {f'{key}.{name}': path for name, path in paths.items()})
    try:
        taps.start()
        output = model(inputs, mode='tensor')
        taps.stop()
        return output, {name: taps.read(path) for name, path in paths.items()}
    finally:
        taps.remove()
