"""Predictions of a teacher as labels of the student's own loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..registry import MODELS
from ..utils.checks import check_integer, check_number
from ..utils.device import device_of
from .convert import candidates, labelled_sample
from .keypoints import head_codec, labelled_pose, numpy_array
from .thresholds import build_thresholds

SHOWN = 8
"""Most classes whose thresholds are monitored one by one."""


@MODELS.register_module()
class PseudoLabels:
    """Labels for unlabelled images: the predictions of a teacher with a high score.

    The student is trained on them with its own loss, so any detector of MMDetection with boxes or instance masks and
    any top-down estimator of MMPose with a codec can learn from unlabelled images. An image without a confident
    prediction has no object, and a person without one has no visible keypoint.

    Args:
        score_thr: Smallest score of a label. A number; a dict of class name or index to number, in which ``'others'``
            is that of the remaining classes; or ``dict(type='adaptive', queue=100, initial=0.5, least=4,
            expected=True)``, see :class:`~kd_plugins.pseudo_labels.thresholds.AdaptiveThresholds`. For pose, the
            classes are the kinds of keypoints, and a keypoint with a lower score counts as not visible.
        min_size: Both sides of a box must be longer, in pixels of the network's input.
        max_per_img: Largest number of labels of an image, those of the highest scores; ``None`` for all.
        nms: Largest IoU of two labels of one class; ``None`` keeps what the teacher predicts. DETRs have no
            suppression of their own.
        key: Config key of the pseudo labels.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    def __init__(
        self,
        score_thr: float | dict[Any, Any] = 0.7,
        min_size: float = 1e-2,
        max_per_img: int | None = None,
        nms: float | None = None,
        key: str = 'unlabelled.pseudo',
    ) -> None:
        self.key = key
        self.thresholds = build_thresholds(score_thr, f'{key}.score_thr')
        self.min_size = check_number(f'{key}.min_size', min_size, positive=False, example=0.01)
        if max_per_img is not None:
            check_integer(f'{key}.max_per_img', max_per_img, 1, 'such as 100')
        self.max_per_img = max_per_img
        if nms is not None and not 0 < check_number(f'{key}.nms', nms, positive=True, example=0.6) < 1:
            raise ConfigError(f'{key}.nms is {nms}; it must be None or between 0 and 1, such as 0.6')
        self.nms = nms
        self.names: list[str] = []
        """Names of the classes or keypoints; empty where they are not known."""
        self._student: nn.Module | None = None
        self._monitors: dict[str, Tensor] = {}

    def bind(self, student: nn.Module, metainfo: Mapping[str, Any] | None = None) -> None:
        """Take over what depends on the run; called once, before the first batch.

        Args:
            student: The student. The codec of its head makes the targets of poses.
            metainfo: Metadata of the training data, with the names of classes or keypoints.

        Raises:
            ConfigError: If a class in ``score_thr`` is unknown.
        """
        self._student = student
        info = metainfo or {}
        keypoints = info.get('keypoint_id2name')
        names = [keypoints[index] for index in sorted(keypoints)] if keypoints else info.get('classes') or ()
        self.names = [str(name) for name in names]
        if self.names:
            self.thresholds.bind(self.names)

    def __call__(self, predictions: Sequence[Any], samples: Sequence[Any]) -> list[Any]:
        """Return data samples with ground truth; every rank must call it.

        Args:
            predictions: Data samples with ``pred_instances``, from ``model.predict(inputs, samples)`` of a teacher in
                eval mode, for detectors with ``rescale=False``, so that boxes are in pixels of the network's input.
            samples: Data samples of the same images; they stay as they are.

        Returns:
            New data samples, one for each image.

        Raises:
            ConfigError: If the predictions are neither boxes, instance masks nor top-down keypoints.
        """
        found = [getattr(prediction, 'pred_instances', None) for prediction in predictions]
        if all(one is not None and 'keypoints' in one for one in found) and found:
            return self._poses(found, samples)
        if not all(one is not None and 'bboxes' in one and 'labels' in one for one in found):
            kinds = sorted({type(sample).__name__ for sample in predictions})
            raise ConfigError(
                f'{self.key}: the teacher predicts {", ".join(kinds)} without boxes or keypoints; pseudo labels are '
                'made of boxes, instance masks and top-down keypoints; nearest: pseudo=None with dense distillers'
            )
        return self._boxes(found, samples)

    def _boxes(self, found: Sequence[Any], samples: Sequence[Any]) -> list[Any]:
        expected = self.thresholds.expected
        listed = [
            candidates(one, sample.metainfo['img_shape'], self.min_size, self.nms, expected, self.key)
            for one, sample in zip(found, samples)
        ]
        scores, labels = (torch.cat([one[name] for one in listed]) for name in ('scores', 'labels'))
        self.thresholds.update(scores, labels)
        kept = [one[one.scores >= self.thresholds.of(one.labels)] for one in listed]
        if self.max_per_img is not None:
            kept = [one[: self.max_per_img] for one in kept]
        self._watch([len(one) for one in kept], scores.device)
        masks = any('masks' in one for one in found)
        return [labelled_sample(sample, one, masks) for sample, one in zip(samples, kept)]

    def _poses(self, found: Sequence[Any], samples: Sequence[Any]) -> list[Any]:
        if self._student is None:
            raise ConfigError(
                f'{self.key}: the student is not known, whose codec makes the targets; call bind(student)'
            )
        for sample in samples:
            missing = [name for name in ('input_center', 'input_scale', 'input_size') if name not in sample.metainfo]
            if missing:
                raise ConfigError(
                    f"{self.key}: the data samples have no '{missing[0]}', which only top-down estimators have; "
                    'nearest: pseudo=None with a HeatmapDistiller'
                )
        device = device_of(self._student)
        codec = head_codec(self._student, self.key)
        scores = [torch.as_tensor(numpy_array(one.keypoint_scores), device=device) for one in found]
        labels = [torch.arange(one.shape[-1], device=device).expand_as(one) for one in scores]
        self.thresholds.update(*(torch.cat([one.flatten() for one in values]) for values in (scores, labels)))
        visible = [one >= self.thresholds.of(kind) for one, kind in zip(scores, labels)]
        self._watch([int(one.sum()) for one in visible], device)
        return [
            labelled_pose(sample, one, shown, codec, device, self.key)
            for sample, one, shown in zip(samples, found, visible)
        ]

    def _watch(self, counts: Sequence[int], device: torch.device) -> None:
        total = max(len(counts), 1)
        values = {'kept': sum(counts) / total, 'empty': sum(count == 0 for count in counts) / total}
        thresholds = self.thresholds.values()
        if len(thresholds) > SHOWN:
            numbers = list(thresholds.values())
            mean = sum(numbers) / len(numbers)
            values.update({'score_thr.min': min(numbers), 'score_thr.mean': mean, 'score_thr.max': max(numbers)})
        else:
            for index, number in thresholds.items():
                name = self.names[index] if index < len(self.names) else str(index)
                values[f'score_thr.{name}'] = number
        self._monitors = {name: torch.tensor(value, device=device) for name, value in values.items()}

    def monitors(self) -> dict[str, Tensor]:
        """Return values of the last batch of this rank to log, each of shape ``()``.

        ``kept`` is the mean number of labels of an image (of visible keypoints of a person), ``empty`` the share of
        images without a label. Adaptive thresholds are listed by class; of more than 8 classes, their smallest, mean
        and greatest.
        """
        return dict(self._monitors)

    def state_dict(self) -> dict[str, Any]:
        """Return the recent scores of adaptive thresholds."""
        return self.thresholds.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the recent scores."""
        self.thresholds.load_state_dict(state)
