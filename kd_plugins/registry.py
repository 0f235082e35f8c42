"""Registries of the scope ``kd_plugins``, children of MMEngine's roots.

For ``type='kd_plugins.X'`` MMEngine imports ``kd_plugins.registry`` and then the ``locations`` of the registry that it
searches, so a config finds every part even without ``custom_imports``.

* :data:`HOOKS`: hooks of the runner.
* :data:`MODELS`: modules that compute on tensors: distillers, adapters, losses, models, views, pseudo labels.
* :data:`TASK_UTILS`: teachers and weight schedules.
* :data:`DATASETS`, :data:`TRANSFORMS`, :data:`METRICS`: data sets, their transforms and the metrics.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='kd_plugins', locations=['kd_plugins.hooks'])
MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='kd_plugins',
    locations=[
        'kd_plugins.distillers',
        'kd_plugins.adapters',
        'kd_plugins.losses',
        'kd_plugins.models',
        'kd_plugins.views',
        'kd_plugins.pseudo_labels',
    ],
)
TASK_UTILS = Registry(
    'task util',
    parent=MMENGINE_TASK_UTILS,
    scope='kd_plugins',
    locations=['kd_plugins.teachers', 'kd_plugins.schedules'],
)
DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='kd_plugins', locations=['kd_plugins.datasets'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='kd_plugins', locations=['kd_plugins.datasets'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='kd_plugins', locations=['kd_plugins.evaluation'])

__all__ = ['DATASETS', 'HOOKS', 'METRICS', 'MODELS', 'TASK_UTILS', 'TRANSFORMS']
