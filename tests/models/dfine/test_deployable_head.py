"""The form of a head for inference: what is dropped, and that the predictions stay."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from tests.models.dfine.small_detectors import batch, build, config, run_decoder


@pytest.mark.parametrize('stages', [1, 2])
def test_the_last_layer_stays_of_a_head_with_fdr(stages: int) -> None:
    """A two-stage head has one class branch more, for the proposals, which stays."""
    model = build(config('deformable', as_two_stage=stages == 2)).eval()
    head, names = model.bbox_head, set(model.bbox_head.state_dict())
    layers = head.num_decoder_layers
    with torch.no_grad():
        states, refinement = run_decoder(model, batch(model, [2, 2]))
        expected = head(states, refinement)
        head.keep_layer(layers - 1)
        scores, boxes = head(states, refinement)
    assert len(scores) == len(boxes) == 1 and len(head.cls_branches) == layers + stages - 1
    torch.testing.assert_close((scores[0], boxes[0]), (expected[0][-1], expected[1][-1]))
    dropped = {name.split('.')[0] if name.startswith('cls') else '.'.join(name.split('.')[:2])
               for name in names - set(head.state_dict())}  # fmt: skip
    assert dropped == {'cls_branches', 'fdr.qualities'}, 'each distribution adds to those before it'
