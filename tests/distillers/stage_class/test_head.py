"""Class head of a stage."""

from __future__ import annotations

import torch

from kd_plugins.distillers.stage_class.head import StageHead, resized_mask


def test_padding_counts_for_nothing() -> None:
    torch.manual_seed(0)
    head, x = StageHead(3, 8, 5, halvings=2), torch.randn(2, 3, 16, 16)
    mask = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    mask[..., :32, :48] = True
    logits = head(x, mask)
    changed = x.clone()
    changed[..., 8:, :], changed[..., 12:] = 9.0, -7.0
    torch.testing.assert_close(head(changed, mask), logits)
    torch.testing.assert_close(head(x[..., :8, :12]), logits)
    torch.testing.assert_close(head(x, torch.ones_like(mask)), head(x), rtol=1e-4, atol=1e-5)
    logits.sum().backward()
    assert all(param.grad is not None and param.grad.isfinite().all() for param in head.parameters())


def test_masks_of_smaller_maps() -> None:
    assert resized_mask(None, (2, 2)) is None
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :3, :1] = True
    assert resized_mask(mask, (2, 2))[0, 0].tolist() == [[True, False], [True, False]]
