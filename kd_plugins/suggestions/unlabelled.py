"""Settings for images without labels: what a teacher sees there, where it is sure, and its boxes as labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config.loading import class_name
from .heads import boxes, localization
from .recipe import Pair, Settings, Unsuitable
from .segmentors import pixels

KEPT_STEPS = (
    'LoadImageFromFile',
    'Resize',
    'RandomResize',
    'RandomChoiceResize',
    'RandomCrop',
    'RandomFlip',
    'Pad',
    'PackDetInputs',
    'PackSegInputs',
)
"""Steps of a labelled pipeline that work on an image without labels, and so does ``RandomChoice`` among them."""
OF_LABELS = ('cat_max_ratio',)
"""Arguments of these steps that read labels; MMSegmentation's ``RandomCrop`` avoids crops of one class by this one."""


def _without_labels(pipeline: Sequence[Settings]) -> list[Settings]:
    return [_on_image(step) for step in pipeline if _needs_no_labels(step)]


def _on_image(step: Settings) -> Settings:
    """Return a step without arguments that read labels."""
    kept = {name: value for name, value in step.items() if name not in OF_LABELS}
    if class_name(step) == 'RandomChoice':
        kept['transforms'] = [[_on_image(each) for each in _branch(branch)] for branch in step.get('transforms') or ()]
    return kept


def _needs_no_labels(step: Settings) -> bool:
    if class_name(step) == 'RandomChoice':
        return all(_needs_no_labels(each) for branch in step.get('transforms') or () for each in _branch(branch))
    return class_name(step) in KEPT_STEPS


def _branch(branch: Any) -> list[Settings]:
    return list(branch) if isinstance(branch, (list, tuple)) else [branch]


def _unlabelled(pair: Pair, distillers: Settings, **unlabelled: Any) -> Settings:
    student = pair.student
    if student.part('voxel_encoder') or student.part('network') or student.part('head'):
        raise Unsuitable('the entry needs boxes of persons, volumes or scenes; copy one of configs/unlabelled')
    late = dict(type='kd_plugins.LinearWarmup', value=1.0, **student.schedule(begin=1 / 3, end=2 / 3))
    pipeline = _without_labels(student.pipeline)
    ends = [class_name(step) for step in (*pipeline[:1], *pipeline[-1:])]
    if student.pipeline and not (ends[:1] == ['LoadImageFromFile'] and ends[1].startswith('Pack')):
        raise Unsuitable(
            'the training pipeline neither begins with LoadImageFromFile nor ends with PackDetInputs or PackSegInputs; '
            'copy one of configs/unlabelled'
        )
    folder = dict(type='kd_plugins.ImageFolder', data_root='data/unlabelled/', pipeline=pipeline)
    return dict(
        student_view=dict(type='kd_plugins.PhotometricView', on=('unlabelled',)),
        unlabelled=dict(
            dataloader=dict(batch_size=student.batch_size, num_workers=2, persistent_workers=True, dataset=folder),
            # An average knows little in the first third of a run; a trained teacher knows everything from the start.
            weight=pair.warm_up(1.0) if pair.frozen else late,
            **unlabelled,
        ),
        distillers={name: dict(entry, on='unlabelled') for name, entry in distillers.items()},
    )


def unlabelled_scores(pair: Pair) -> Settings:
    """Return the entry for dense detectors: the scores and boxes of the places where the teacher sees objects."""
    try:
        entry = localization(pair)['distillers']
        entry['localization'].update(select=dict(score=0.2), weight=1.0, temperature=2.0)
    except Unsuitable:
        entry = boxes(pair)['distillers']
        entry['boxes'].update(select=dict(score=0.2), weight=1.0)
    entry['logits'].update(select=dict(score=0.1), weight=2.0)
    return _unlabelled(pair, entry)


def unlabelled_pixels(pair: Pair) -> Settings:
    """Return the entry for segmentors: the class of the pixels where the average is sure."""
    entry = pixels(pair)['distillers']
    entry['pixels'].update(target='hard', select=dict(score=0.95), weight=1.0)
    view = dict(type='kd_plugins.CutMix', view=dict(type='kd_plugins.PhotometricView', preset='unimatch'))
    return dict(_unlabelled(pair, entry), student_view=view)


def pseudo_labels(pair: Pair) -> Settings:
    """Return the entry for two-stage detectors and detectors with queries: confident boxes become labels."""
    if pair.student.part('roi_head') is None and not pair.student.has_type('bbox_head', 'DETRHead'):
        raise Unsuitable('the model is neither a two-stage detector nor a DETR')
    threshold = 0.7 if pair.student.part('roi_head') is not None else 0.4
    return _unlabelled(pair, {}, pseudo=dict(type='kd_plugins.PseudoLabels', score_thr=threshold))
