from __future__ import annotations

import pytest
import torch

from kd_plugins.models.dfine import BoxRefiner, FDRBranches, QualityEstimator
from kd_plugins.models.dfine.refinement import as_reference, perceptron, shift_in_logit_space

DIMS, LAYERS, REG_MAX = 16, 3, 8


def branches(scale: float = 0.3, seed: int = 0) -> tuple[FDRBranches, torch.nn.Module]:
    """Return FDR branches and an initial branch with random weights, in float64."""
    torch.manual_seed(seed)
    made = FDRBranches(LAYERS, DIMS, REG_MAX, reg_scale=4.0, up=0.5).double()
    initial = perceptron([DIMS, DIMS, DIMS, 4]).double()
    with torch.no_grad():
        for parameter in [*made.parameters(), *initial.parameters()]:
            parameter.copy_(scale * torch.randn_like(parameter))
    return made, initial


def inputs(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden states (layers, images, queries, channels) and reference boxes (images, queries, 4)."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(LAYERS, 2, 5, DIMS, generator=generator, dtype=torch.float64)
    return hidden, 0.2 + 0.5 * torch.rand(2, 5, 4, generator=generator, dtype=torch.float64)


def run(made: FDRBranches, initial: torch.nn.Module, hidden: torch.Tensor, reference: torch.Tensor) -> BoxRefiner:
    refiner = BoxRefiner(made, initial)
    for layer in hidden:
        reference = refiner(layer, reference)
    return refiner


def test_equals_the_decoder_of_transformers() -> None:
    """Their D-FINE decoder, with the attention layers replaced by given hidden states, against our refiner."""
    transformers = pytest.importorskip('transformers')
    from transformers.models.d_fine.modeling_d_fine import DFineDecoder, DFineMLP

    made, initial = branches()
    hidden, reference = inputs()
    config = transformers.DFineConfig(
        d_model=DIMS,
        decoder_layers=LAYERS,
        max_num_bins=REG_MAX,
        reg_scale=4.0,
        up=0.5,
        num_labels=3,
        decoder_attention_heads=2,
        encoder_hidden_dim=DIMS,
        decoder_in_channels=[DIMS] * 3,
        decoder_ffn_dim=DIMS,
    )
    decoder = DFineDecoder(config).double().train()

    class Given(torch.nn.Module):
        def __init__(self, states: torch.Tensor) -> None:
            super().__init__()
            self.states = states

        def forward(self, *_: object, **__: object) -> torch.Tensor:
            return self.states

    decoder.layers = torch.nn.ModuleList(Given(states) for states in hidden)
    decoder.class_embed = torch.nn.ModuleList(torch.nn.Linear(DIMS, 3).double() for _ in range(LAYERS))
    decoder.bbox_embed = torch.nn.ModuleList(DFineMLP(DIMS, DIMS, 4 * (REG_MAX + 1), 3).double() for _ in range(LAYERS))
    pairs = [*zip(decoder.bbox_embed, made.distributions), (decoder.pre_bbox_head, initial)]
    pairs += [(lqe.reg_conf, quality.branch) for lqe, quality in zip(decoder.lqe_layers, made.qualities)]
    with torch.no_grad():
        for released_branch, branch in pairs:
            for target, source in zip(released_branch.parameters(), branch.parameters()):
                target.copy_(source)
    released = decoder(
        encoder_hidden_states=hidden[0],
        reference_points=reference.logit(),
        inputs_embeds=hidden[0],
        spatial_shapes=None,
    )
    actual = run(made, initial, hidden, reference).result()
    close = dict(rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(released.intermediate_reference_points[:, 0], actual.initial, **close)
    torch.testing.assert_close(released.intermediate_reference_points[:, 1:].transpose(0, 1), actual.boxes, **close)
    logits = released.intermediate_predicted_corners.transpose(0, 1).unflatten(-1, (4, -1))
    torch.testing.assert_close(logits, actual.logits, **close)
    for layer in range(LAYERS):
        scores = decoder.class_embed[layer](hidden[layer])
        scores = scores + made.qualities[layer](actual.logits[layer])
        torch.testing.assert_close(released.intermediate_logits[:, layer + 1], scores, **close)


def test_starts_at_the_initial_box() -> None:
    made, initial = branches()
    made.init_weights()
    result = run(made, initial, *inputs()).result()
    assert torch.equal(result.logits, torch.zeros_like(result.logits))
    torch.testing.assert_close(result.boxes, result.initial.expand_as(result.boxes))
    assert torch.equal(made.qualities[0](result.logits[0]), torch.zeros(2, 5, 1, dtype=torch.float64))


def test_where_gradients_go() -> None:
    """A layer's box trains its own and all earlier distributions, not the initial box; hidden states do not leak."""
    made, initial = branches()
    hidden, reference = inputs()
    hidden.requires_grad_()
    result = run(made, initial, hidden, reference).result()
    result.boxes[1].sum().backward(retain_graph=True)
    assert hidden.grad is not None
    assert [bool(layer.abs().sum() > 0) for layer in hidden.grad] == [True, True, False]
    assert all(parameter.grad is None for parameter in initial.parameters())
    # Layer 1 reads layer 0's hidden state without gradient: removing layer 0's own branch leaves nothing there.
    hidden.grad = None
    (result.logits[1] - result.logits[0]).sum().backward(retain_graph=True)
    assert hidden.grad is not None and hidden.grad[0].abs().max() < 1e-12
    result.initial.sum().backward()
    assert all(parameter.grad is not None for parameter in initial.parameters())


def test_points_become_boxes() -> None:
    delta = torch.zeros(2, 4)
    actual = shift_in_logit_space(delta, torch.tensor([[0.25, 0.5], [0.0, 1.0]]))
    torch.testing.assert_close(actual[0], torch.tensor([0.25, 0.5, 0.5, 0.5]))
    assert actual.isfinite().all()


def test_reference_has_an_area_and_no_gradient() -> None:
    boxes = torch.tensor([[-0.5, 2.0, -1.0, 3.0]], requires_grad=True)
    reference = as_reference(boxes)
    assert not reference.requires_grad
    torch.testing.assert_close(reference, torch.tensor([[0.0, 1.0, 1e-3, 1.0]]))


def test_accumulates_in_float32_inside_autocast() -> None:
    made, initial = branches()
    made, initial = made.float(), initial.float()
    hidden, reference = (part.float() for part in inputs())
    with torch.autocast('cpu', torch.bfloat16):
        result = run(made, initial, hidden, reference).result()
    exact = run(made, initial, hidden, reference).result()
    assert {part.dtype for part in result} == {torch.float32}
    torch.testing.assert_close(result.boxes, exact.boxes, rtol=0, atol=0.1)


def test_quality_sees_how_peaked_the_edges_are() -> None:
    torch.manual_seed(0)
    estimator = QualityEstimator()
    logits = torch.randn(1, 2, 4, 33)
    order = torch.randperm(33)
    torch.testing.assert_close(estimator(logits), estimator(logits[..., order]))
    assert not torch.allclose(estimator(logits), estimator(5 * logits))


def test_bins_are_no_weights() -> None:
    assert not [name for name in branches()[0].state_dict() if 'bins' in name]


def test_offsets_of_bins_are_not_rounded_to_half_precision() -> None:
    made = branches()[0].float()
    exact = made.bins.clone()
    made.to(torch.bfloat16)
    assert torch.equal(made.offsets_of_bins(torch.zeros(1)), exact) and not torch.equal(made.bins.float(), exact)
    assert made.qualities[0](torch.zeros(1, 4, len(exact))).dtype == torch.bfloat16
