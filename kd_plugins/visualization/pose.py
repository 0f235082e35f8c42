"""Prediction of a pose estimator for one person, as plain arrays: joints and their distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..distillers.keypoint.heatmap import BETA, PEAKS
from ..errors import ConfigError
from ..taps import TapSet
from .pictures import Array, softmax

LAYERS = (
    ('simcc', ('cls_x', 'cls_y')),
    ('simcc', ('mlp_head_x', 'mlp_head_y')),
    ('laplace', ('fc',)),
    ('heatmap', ('final_layer',)),
    ('heatmap', ('multi_final_layers.*',)),
    ('heatmap', ('predict_layers.*',)),
)
"""Kind of head and its last layers; the first match is used, and of several stages the last one is read."""

HEADS = 'RTMCCHead, RTMWHead, SimCCHead, HeatmapHead, ViPNASHead, CPMHead, MSPNHead and RLEHead'
STEPS = 8
"""Number of points of a Laplace curve per pixel."""


@dataclass(frozen=True)
class Pose:
    """Prediction of one network, in pixels of its input crop.

    Attributes:
        points: Predicted joints, (K, 2).
        scores: Confidence of the joints, (K,).
        positions: Positions of the densities along x, (X,), and along y, (Y,).
        densities: Densities along x, (K, X), and along y, (K, Y), per pixel; or one of heatmaps, (K, Y, X), per cell.
        spread: Scale of a Laplace distribution along x and y, (K, 2); None for other heads.
    """

    points: Array
    scores: Array
    positions: tuple[Array, Array]
    densities: tuple[Array, ...]
    spread: Array | None = None


def find_head(model: nn.Module, role: str = 'student') -> tuple[str, Any, list[str]]:
    """Return the kind of a model's head, recognised by its last layers.

    Args:
        model: A top-down pose estimator.
        role: ``'student'`` or ``'teacher'``, for the error sentence.

    Returns:
        ``'simcc'``, ``'heatmap'`` or ``'laplace'``, the head, and the dotted paths of its last layers.

    Raises:
        ConfigError: If the head gives no distributions.
    """
    outer: Any = getattr(model, 'head', None)
    inner: Any = getattr(outer, 'pose_head', None)  # of VisPredictHead
    for path, head in (('head', outer), ('head.pose_head', inner)):
        for kind, layers in LAYERS:
            if any(getattr(head, layer.removesuffix('.*'), None) is None for layer in layers):
                continue
            loss = type(head.loss_module).__name__
            if kind == 'laplace' and getattr(head.loss_module, 'q_distribution', None) != 'laplace':
                raise ConfigError(
                    f'model.head: {type(head).__name__} with {loss} of the {role} predicts no Laplace distribution; '
                    "RLEHead with RLELoss(q_distribution='laplace') does"
                )
            if loss == 'CombinedTargetMSELoss':
                raise ConfigError(
                    f'model.head: {type(head).__name__} of the {role} gives offset maps with every heatmap ({loss}), '
                    'which are not distributions; nearest: KeypointMSELoss'
                )
            if head.decoder is None:
                raise ConfigError(f'model.head.decoder of the {role} is None; set it to the codec of its targets')
            return kind, head, [f'{path}.{layer}' for layer in layers]
    raise ConfigError(
        f"model.head: '{type(outer).__name__}' of the {role} gives no distributions of keypoints; {HEADS} do"
    )


def distributions(
    kind: str, head: Any, outputs: Sequence[Array], size: Array
) -> tuple[tuple[Array, Array], tuple[Array, ...], Array | None]:
    r"""Return positions, densities and spread from the outputs of a head's last layers, see :class:`Pose`.

    ============= ====================================================================================================
    ``simcc``     :math:`softmax(\beta \, logits)` with the :math:`\beta` of the head's loss
    ``heatmap``   :math:`softmax(\beta \, heatmap)` over all cells, :math:`\beta` as in ``HeatmapDistiller``
    ``laplace``   :math:`e^{-|x - \mu| / b} / 2b`, the distribution from which ``RLELoss`` starts
    ============= ====================================================================================================

    Args:
        kind: Kind of the head, from :func:`find_head`.
        head: The head.
        outputs: Outputs for one image, without the dimension of the batch.
        size: Width and height of the crop.
    """
    if kind == 'simcc':
        beta, ratio = getattr(head.loss_module, 'beta', 1.0), float(head.decoder.simcc_split_ratio)
        x, y = (np.arange(output.shape[-1]) / ratio for output in outputs)
        return (x, y), tuple(softmax(beta * output) * ratio for output in outputs), None
    if kind == 'heatmap':
        (maps,) = outputs
        beta = getattr(head, 'beta', BETA / PEAKS.get(type(head.decoder).__name__, 1.0))
        cells = np.array(maps.shape[:0:-1])
        steps = getattr(head.decoder, 'scale_factor', size / cells)
        x, y = (np.arange(number) * float(step) for number, step in zip(cells, steps))
        return (x, y), (softmax(beta * maps.reshape(len(maps), -1)).reshape(maps.shape),), None
    values = outputs[0].reshape(-1, 4)
    center = values[:, :2] * size
    spread = np.maximum(size / (1.0 + np.exp(-values[:, 2:])), 1e-6)
    x, y = (np.linspace(0.0, side, int(side) * STEPS + 1) for side in size)
    densities = tuple(
        np.exp(-np.abs(places - center[:, [axis]]) / spread[:, [axis]]) / (2.0 * spread[:, [axis]])
        for axis, places in enumerate((x, y))
    )
    return (x, y), densities, spread


@torch.no_grad()
def read_pose(model: Any, sample: Mapping[str, Any], role: str = 'student') -> Pose:
    """Return the prediction of a pose estimator for one crop, without the second, flipped pass of test configs.

    Args:
        model: A top-down pose estimator in eval mode, which is not changed.
        sample: ``inputs`` and ``data_samples`` of one person, as the test pipeline packs them.
        role: ``'student'`` or ``'teacher'``, for error sentences.

    Raises:
        ConfigError: If the head gives no distributions, or its codec has another input size.
    """
    kind, head, paths = find_head(model, role)
    crop = sample['inputs']
    height, width = crop.shape[-2:]
    expected = tuple(getattr(head.decoder, 'input_size', (width, height)))
    if expected != (width, height):
        raise ConfigError(
            f'model.head.decoder.input_size of the {role} is {expected[0]}x{expected[1]}, and the crop, which comes '
            f"from the student's test pipeline, is {width}x{height}; both must be the same"
        )
    # The preprocessor copies the data samples.
    data = model.data_preprocessor({'inputs': [crop], 'data_samples': [sample['data_samples']]}, False)
    features = model.extract_feat(data['inputs'])
    taps = TapSet(model, {f'model.{path}': path for path in paths}, role)
    try:
        taps.start()
        model.head.forward(features)
        outputs = [taps.read(path)[-1][0].double().cpu().numpy() for path in paths]
    finally:
        taps.remove()
    # A separate pass, since RLEHead changes the output of its last layer in place.
    predictions = model.head.predict(features, data['data_samples'], test_cfg={})
    instances = (predictions[0] if isinstance(predictions, tuple) else predictions)[0]
    positions, densities, spread = distributions(kind, head, outputs, np.array([width, height]))
    indices = (model.test_cfg or {}).get('output_keypoint_indices')
    keep: Any = slice(None) if indices is None else list(indices)
    return Pose(
        np.asarray(instances.keypoints)[0, keep, :2],
        np.asarray(instances.keypoint_scores)[0, keep],
        positions,
        tuple(density[keep] for density in densities),
        None if spread is None else spread[keep],
    )
