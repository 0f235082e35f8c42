"""Dual self-distillation as released: the configs of UNETR and DynUNet against the formulas, heads and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip('monai')
from mmengine.config import Config
from monai.losses import DiceCELoss

from kd_plugins.distillers import Batch, DualSelfDistiller
from kd_plugins.registry import MODELS
from kd_plugins.taps import TapSet
from tests.distillers.dual_self.levels import labels_of, sample

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'dual_self'
SMALL: dict[str, dict[str, Any]] = {
    'unetr': dict(feature_size=4, hidden_size=24, mlp_dim=48, num_heads=3),
    'dynunet': dict(filters=(4, 8, 8, 12, 12)),
}
TOKENS = 'network.vit.norm@2x2x2'


class Run:
    """A small network of a config's architecture after one forward pass, with the config's distiller.

    Args:
        name: Name of the config.
        options: Arguments of the distiller to change.
    """

    def __init__(self, name: str, **options: Any) -> None:
        config = Config.fromfile(CONFIGS / f'{name}.py')
        torch.manual_seed(0)
        self.model: Any = MODELS.build(
            {**config.model, 'network': {**config.model.network, **SMALL[name.split('_')[0]]}}
        )
        settings = {**config.default_hooks.distill.distillers.dsd, **options}
        distiller = MODELS.build({**settings, 'key': 'distillers.dsd'})
        assert isinstance(distiller, DualSelfDistiller)
        self.distiller = distiller
        self.taps = TapSet(self.model, {f'key.{alias}': path for alias, path in distiller.student_taps().items()})
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.rand(2, 1, 32, 32, 32, generator=generator)
        labels = torch.randint(0, 3, (2, 32, 32, 32), generator=generator)
        self.batch = Batch(self.inputs, [sample(volume) for volume in labels])
        distiller.check_models(self.model, self.model)
        distiller.initialize(self.outputs(), {})
        with torch.no_grad():
            for param in distiller.parameters():
                param.add_(0.3 * torch.randn(param.shape, generator=generator))

    def outputs(self) -> dict[str, list[Tensor]]:
        self.taps.start()
        self.model(self.inputs)
        return {alias: self.taps.read(path) for alias, path in self.distiller.student_taps().items()}

    def losses(self) -> dict[str, Tensor]:
        return self.distiller(self.outputs(), {}, self.batch)


def mean_divergence(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """Return T^2 KL(teacher || student) of softened maps (N, C, ...), summed over classes, mean over the rest."""
    log_p, p = F.log_softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(log_p, p, reduction='none').sum(dim=1).mean()


def upsampled_logits(run: Run) -> dict[str, list[Tensor]]:
    """Return the logits of every level at full size: a 1x1x1 convolution, and one deconvolution as often as needed."""
    outputs, logits = run.outputs(), {}
    for branch, indices in ((name, run.distiller.spec()[name]['heads']) for name in ('encoder', 'decoder')):
        for number, index in enumerate(indices):
            assert run.distiller.heads is not None
            head: Any = run.distiller.heads.members[index]
            (x,) = outputs[f'{branch}.{number}']
            linear = head.projection.projection
            x = F.conv3d(x, linear.weight[:, :, None, None, None], linear.bias)
            while x.shape[-1] < 32:
                x = F.conv_transpose3d(x, head.doubling.weight, head.doubling.bias, stride=2)
            logits.setdefault(branch, []).append(x)
    return logits


@pytest.mark.parametrize('name', ['unetr', 'dynunet'])
def test_losses_are_those_of_the_formulas(name: str) -> None:
    run = Run(f'{name}_hippocampus16_dsd-released')
    losses, logits = run.losses(), upsampled_logits(run)
    segmentation = DiceCELoss(include_background=True, to_onehot_y=True, softmax=True, lambda_dice=1.0, lambda_ce=1.0)
    labels = labels_of(run.batch)[:, None].float()
    expected = {'loss_decoder_seg': torch.stack([segmentation(z, labels) for z in logits['decoder']]).sum()}
    for branch, (*students, teacher) in logits.items():
        expected[f'loss_{branch}_kl'] = torch.stack([mean_divergence(z, teacher) for z in students]).sum()
    assert [len(maps) for maps in logits.values()] == [4, 4]
    torch.testing.assert_close(losses, {key: expected[key] for key in losses})
    assert set(losses) == set(expected)
    # Nothing is detached, the levels that teach included.
    wanted = [*run.model.network.parameters(), *run.distiller.parameters()]
    for first, second in zip(*(gradients(values, wanted) for values in (losses, expected))):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


def gradients(losses: dict[str, Tensor], wanted: list[nn.Parameter]) -> tuple[Tensor, ...]:
    total = torch.stack(list(losses.values())).sum()
    return torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True, retain_graph=True)


def test_unetr_shares_no_head_and_dynunet_those_of_equal_size() -> None:
    unetr, dynunet = (Run(f'{name}_hippocampus16_dsd-released').distiller.spec() for name in ('unetr', 'dynunet'))
    assert [unetr[branch]['heads'] for branch in ('encoder', 'decoder')] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [dynunet[branch]['heads'] for branch in ('encoder', 'decoder')] == [[0, 1, 2, 3], [4, 3, 2, 1]]


@pytest.mark.parametrize('with_tokens', [True, False])
def test_the_tokens_level_reaches_the_last_layer_of_the_transformer(with_tokens: bool) -> None:
    """The skip connections leave the transformer at its fourth, seventh and tenth layer."""
    name = 'unetr_hippocampus16_dsd-released'
    decoder = Config.fromfile(CONFIGS / f'{name}.py').default_hooks.distill.distillers.dsd.decoder
    run = Run(name, **({} if with_tokens else {'decoder': [path for path in decoder if path != TOKENS]}))
    last = [*run.model.network.vit.blocks[10:].parameters(), *run.model.network.vit.norm.parameters()]
    earlier = list(run.model.network.vit.blocks[9].mlp.parameters())
    # The decoder's next level reads the tokens as well. Without that way, the head of the tokens is the only one.
    run.model.network.decoder5.register_forward_pre_hook(lambda module, args: (args[0].detach(), *args[1:]))
    losses = run.losses()
    reached = {key: any(bool(g.any()) for g in gradients({key: loss}, last)) for key, loss in losses.items()}
    assert reached == {'loss_decoder_seg': with_tokens, 'loss_encoder_kl': False, 'loss_decoder_kl': with_tokens}
    assert all(bool(g.any()) for g in gradients(losses, earlier))


def test_the_detached_arm_detaches_and_trains_the_encoders_teacher() -> None:
    run = Run('unetr_hippocampus16_dsd-detached')
    losses = run.losses()
    assert run.distiller.heads is not None
    heads = {branch: run.distiller.heads.members[index] for branch, index in (('encoder', 3), ('decoder', 7))}
    for branch, head in heads.items():
        taught = gradients({'kl': losses[f'loss_{branch}_kl']}, list(head.parameters()))
        assert not any(bool(g.any()) for g in taught)
        labelled = gradients({'seg': losses[f'loss_{branch}_seg']}, list(head.parameters()))
        assert all(bool(g.any()) for g in labelled)
