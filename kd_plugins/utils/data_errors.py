"""Errors that data sets, pipeline steps, metrics and constructors raise, as one sentence that names the place."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from types import FrameType
from typing import Any

from mmengine.logging import MMLogger

ROLES = {
    ('BaseMetric', 'mmengine.'): 'metric',
    ('BaseTransform', 'mmcv.'): 'pipeline step',
    ('Dataset', 'torch.'): 'data set',
}
"""Name and package of a base class to the role of what inherits from it."""
NO_BATCH = 'train_dataloader gives no batch; check indices, filter_cfg, batch_size and drop_last'
"""Sentence about a training loader of length 0."""
BUILDER = 'mmengine.registry.build_functions'
"""Module whose ``build_from_cfg`` calls the constructors of a config."""
_WORKER = re.compile(r'DataLoader worker process (\d+)')
_WORKER_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\w+)')
_LIBRARIES = ('torch', 'mmcv', 'mmengine', 'numpy', 'cv2', 'PIL')
"""Packages whose code a data set calls; the last place outside them is what the user can look at."""


def _role(owner: Any) -> str | None:
    for cls in type(owner).__mro__:
        for (name, package), role in ROLES.items():
            if cls.__name__ == name and cls.__module__.startswith(package):
                return role
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def data_sentence(error: BaseException) -> str | None:
    """Return one sentence about an error that was raised below a data set, a pipeline step or a metric.

    Args:
        error: The error, with its traceback.

    Returns:
        The sentence, or ``None`` for an error of another place.

    >>> data_sentence(ValueError('elsewhere')) is None
    True
    """
    cause = f'{type(error).__name__}: {" ".join(str(error).split())}'
    if 'Original Traceback' in str(error):
        return _worker_sentence(str(error))
    places: dict[str, str] = {}
    index: int | None = None
    path: str | None = None
    for frame in _frames(error):
        owner = frame.f_locals.get('self')
        role = None if owner is None else _role(owner)
        if role is None:
            continue
        places[role] = type(owner).__name__
        number = frame.f_locals.get('idx', frame.f_locals.get('index'))
        if role == 'data set' and isinstance(number, int):
            index = number
        results = frame.f_locals.get('results')
        if isinstance(results, dict):
            path = results.get('img_path') or results.get('lidar_path') or path
    if not places:
        return None
    where = ', '.join(f"{role} '{name}'" for role, name in sorted(places.items()))
    item = '' if index is None else f', item {index}'
    file = f" ('{path}')" if isinstance(path, str) else ''
    return f'{where}{item}{file}: {cause}; KD_DEBUG=1 shows the traceback'


def building_sentence(error: BaseException) -> str | None:
    """Return one sentence about an error that a constructor raised, whose arguments are those of the config.

    Args:
        error: The error, with its traceback.

    Returns:
        The sentence, or ``None`` for an error of another place.

    >>> building_sentence(ValueError('elsewhere')) is None
    True
    """
    name = None
    for frame in _frames(error):
        if frame.f_code.co_name == 'build_from_cfg' and frame.f_globals.get('__name__') == BUILDER:
            # Of a model and a backbone in it, the backbone.
            name = getattr(frame.f_locals.get('obj_cls'), '__name__', name)
    if name is None:
        return None
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return f'{name} cannot be built: {type(error).__name__}: {" ".join(text.split())}; KD_DEBUG=1 shows the traceback'


def _worker_sentence(text: str) -> str | None:
    """Return the sentence for an error of a data-loading worker, whose traceback is a text."""
    lines = text.strip().splitlines()
    places = [match.groups() for match in map(_WORKER_FRAME.search, lines) if match]
    inside = [place for place in places if not any(f'/site-packages/{name}/' in place[0] for name in _LIBRARIES)]
    if not places:
        return None
    worker = _WORKER.search(text)
    file, line, function = (inside or places)[-1]
    name = f'data-loading worker {worker.group(1)}' if worker else 'a data-loading worker'
    return (
        f"{name}: {lines[-1].strip()} (in {function} of '{file}', line {line}); num_workers=0 names data set and item"
    )


def log_traceback(error: BaseException) -> None:
    """Write the traceback of an error into the log files of the run, not on the screen."""
    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(
        logger.name, logging.ERROR, __file__, 0, 'the run ended', (), (type(error), error, error.__traceback__)
    )
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(record)
