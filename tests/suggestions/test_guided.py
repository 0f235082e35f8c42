"""Recipe of label-guided self-distillation."""

from types import SimpleNamespace

import pytest
from torch import nn

from kd_plugins.suggestions.guided import label_guided
from kd_plugins.suggestions.recipe import Network, Pair, Unsuitable

from .networks import part


class Model(nn.Module):
    """A model with these parts."""

    def __init__(self, **parts):
        super().__init__()
        for name, value in parts.items():
            setattr(self, name, value)

    def extract_feat(self, inputs):
        return inputs

    def loss(self, inputs, samples):
        return {}


def guide_of(**parts):
    network = Network(Model(**parts), None)
    entry = label_guided(Pair(network, network))
    assert entry['teacher'] is None
    guide = entry['distillers']['guide']
    assert guide.pop('type') == 'kd_plugins.LabelGuidedDistiller' and guide.pop('begin') > 0
    return guide


def test_detectors():
    assert guide_of(bbox_head=part('GFLHead', num_classes=3)) == {}
    assert guide_of(bbox_head=part('GFLHead', num_classes=365)) == {'encoder_width': 0.25}
    head = part('StandardRoIHead', bbox_head=part('BBoxHead', num_classes=80))
    assert guide_of(roi_head=head) == {'detach_appearance': True}


def test_channels_of_segmentors_and_pose_estimators():
    facts = dict(num_classes=2, in_index=4, input_transform=None)
    assert guide_of(decode_head=part('FCNHead', in_channels=16, **facts)) == {'encoder_width': 0.25}
    assert guide_of(decode_head=part('FCNHead', in_channels=256, **facts)) == {}
    assert guide_of(decode_head=part('FCNHead', in_channels=2048, **facts)) == {'channels': 256}
    several = dict(facts, in_index=[0, 1], input_transform='resize_concat')
    assert guide_of(decode_head=part('FCNHead', in_channels=64, **several)) == {'channels': 256}
    codec = SimpleNamespace(input_size=(192, 256), simcc_split_ratio=2.0, sigma=4.0)
    facts = dict(decoder=codec, loss_module=nn.Identity(), out_channels=17)
    assert guide_of(head=part('RTMCCHead', in_channels=768, **facts)) == {'channels': 256}


def test_a_model_without_such_labels():
    with pytest.raises(Unsuitable, match='no detector, segmentor or top-down pose estimator'):
        guide_of(encoder=nn.Identity())
