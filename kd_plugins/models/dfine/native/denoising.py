"""Denoising queries of D-FINE, in the layout of MMDetection's ``CdnQueryGenerator``.

Source: Peterande/D-FINE, ``src/zoo/dfine/denoising.py``. Shapes: N images, G objects of the image with the most, D
groups; every group holds G positive and then G negative queries, ``K = 2 * D * G``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.layers import CdnQueryGenerator
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ....errors import ConfigError, nearest
from ....ops.boxes import to_centers, to_corners
from ....utils.argument_types import check_types
from ....utils.build import check_arguments
from ....utils.checks import check_integer
from ..refinement import inverse_sigmoid

KEY = 'model.dn_cfg'
GIVEN = ('num_classes', 'embed_dims', 'num_matching_queries')
"""Arguments that the detector gives."""
GROUPS = ('dynamic', 'num_dn_queries', 'num_groups')


def check_denoising(settings: Any) -> None:
    """Refuse ``model.dn_cfg`` that MMDetection's generator would not take, or would not read.

    Args:
        settings: The value in the config.

    Raises:
        ConfigError: Naming the first argument that is unknown or of another type.
    """
    if not isinstance(settings, dict):
        raise ConfigError(f'{KEY} is {settings!r}; give a dict, for example dict(label_noise_scale=0.5)')
    check_arguments(CdnQueryGenerator, settings, KEY, GIVEN)
    check_types(CdnQueryGenerator, settings, KEY)
    groups = settings.get('group_cfg') or {}
    unknown = next((name for name in groups if name not in GROUPS), None)
    if unknown is not None:
        raise ConfigError(f'{KEY}.group_cfg has no argument {unknown!r}; {nearest(unknown, GROUPS)}')
    wanted = 'num_dn_queries' if groups.get('dynamic', True) else 'num_groups'
    if wanted in groups or wanted == 'num_groups':
        check_integer(f'{KEY}.group_cfg.{wanted}', groups.get(wanted), 1, 'valid: a positive integer, such as 100')


class DFINEQueryGenerator(CdnQueryGenerator):
    """MMDetection's generator of denoising queries with the noise of the release.

    Images with fewer objects than others are filled up with queries of a fixed zero embedding and an empty box. Noisy
    corners are clipped to the image, negative sides become positive, and the logits of the boxes are bounded at
    ``1e-5``, where MMDetection bounds them at ``1e-3``. The random numbers are drawn in the order of the release.

    Args as in MMDetection; ``label_embedding`` has one row more, for the filling.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_embedding = nn.Embedding(self.num_classes + 1, self.embed_dims, padding_idx=self.num_classes)

    def __call__(self, batch_data_samples: Sequence[DetDataSample]) -> tuple[Tensor, Tensor, Tensor, dict[str, int]]:
        """Return content (N, K, C), box logits (N, K, 4), attention mask (queries, queries), and numbers.

        Args:
            batch_data_samples: Samples with ``gt_instances`` in pixels of ``img_shape``.
        """
        labels, boxes = self.padded_truth(batch_data_samples)
        most = labels.shape[1]
        groups = self.get_num_groups(most)
        labels, boxes = labels.tile(1, 2 * groups), boxes.tile(1, 2 * groups, 1)
        negative = (torch.arange(2 * groups * most, device=boxes.device) // max(most, 1)) % 2 == 1
        content = self.label_embedding(self.noisy_labels(labels))
        mask = self.generate_dn_mask(most, groups, boxes.device)
        meta = dict(num_denoising_queries=2 * groups * most, num_denoising_groups=groups)
        return content, inverse_sigmoid(self.noisy_boxes(boxes, negative[:, None])), mask, meta

    def padded_truth(self, batch_data_samples: Sequence[DetDataSample]) -> tuple[Tensor, Tensor]:
        """Return labels (N, G), ``num_classes`` where there is no object, and normalised (cx, cy, w, h), (N, G, 4)."""
        boxes, labels = [], []
        for sample in batch_data_samples:
            corners = getattr(sample.gt_instances.bboxes, 'tensor', sample.gt_instances.bboxes).reshape(-1, 4).float()
            height, width = sample.img_shape[:2]
            boxes.append(to_centers(corners / corners.new_tensor([width, height] * 2)))
            labels.append(sample.gt_instances.labels)
        padded = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=self.num_classes)
        return padded, nn.utils.rnn.pad_sequence(boxes, batch_first=True)

    def noisy_labels(self, labels: Tensor) -> Tensor:
        """Replace labels by a random class with a probability of half the ``label_noise_scale``.

        Args:
            labels: (N, K).
        """
        chosen = torch.rand(labels.shape, device=labels.device) < 0.5 * self.label_noise_scale
        # The release draws 32-bit integers, whose random numbers are others.
        drawn = torch.randint(self.num_classes, labels.shape, device=labels.device, dtype=torch.int32).to(labels)
        return torch.where(chosen & (labels < self.num_classes), drawn, labels)

    def noisy_boxes(self, boxes: Tensor, negative: Tensor) -> Tensor:
        """Move each corner coordinate by a share of half the box's side.

        The share is uniform in 0..1 for positive queries and in 1..2 for negative ones, times ``box_noise_scale``, with
        a random sign.

        Args:
            boxes: Normalised (cx, cy, w, h), (N, K, 4).
            negative: (K, 1).
        """
        sign = torch.randint_like(boxes, 0, 2) * 2.0 - 1.0
        share = torch.rand_like(boxes) + negative.to(boxes)
        half = 0.5 * self.box_noise_scale * boxes[..., 2:].tile(2)
        noisy = to_corners(boxes) + sign * share * half
        return to_centers(noisy.clamp(0.0, 1.0)).abs()

    def generate_dn_mask(self, max_num_target: int, num_groups: int, device: torch.device | str) -> Tensor:
        """Return where a query (row) does not see a query (column): no denoising query of another group is seen.

        Args:
            max_num_target: G.
            num_groups: D.
            device: Device of the mask.
        """
        denoising = 2 * max_num_target * num_groups
        number = torch.arange(denoising + self.num_matching_queries, device=device)
        is_denoising = number < denoising
        group = torch.where(is_denoising, number // max(2 * max_num_target, 1), -1)
        return is_denoising & (group[:, None] != group)
