"""Recipes for DETRs."""

import pytest
from torch import nn

from kd_plugins.suggestions.queries import same_queries
from kd_plugins.suggestions.recipe import Network, Pair, Unsuitable

from .networks import pair, part


def detector(*names, dims=256, **attributes):
    head = part('DETRHead', loss_cls=part('FocalLoss', use_sigmoid=True), num_classes=3)
    return part(*names, bbox_head=head, decoder=part('Decoder', embed_dims=dims, query_dim=4), **attributes)


def networks(student, teacher):
    return Pair(*(Network(model, None, length=12, by_epoch=True) for model in (student, teacher)))


def test_queries_with_a_place_are_drawn_as_well():
    entry = same_queries(networks(detector('DABDETR', 'DETR'), detector('FDRDABDETR', 'DABDETR', 'DETR')))
    assert entry['distillers']['queries']['type'] == 'kd_plugins.QueryDistiller'
    assert 'points' not in entry['distillers']['queries']
    learned = same_queries(networks(detector('DETR'), detector('DETR')))
    assert learned['distillers']['queries']['points'] == ('specific',)


def test_an_average_teaches_later_than_a_trained_network():
    both = networks(detector('DINO'), detector('DINO'))
    for teacher, begin in ((both.teacher, None), (both.student, 4.0)):
        entry = same_queries(Pair(both.student, teacher))['distillers']['queries']
        assert entry['weight'].get('begin') == begin


def test_what_does_not_fit_is_named():
    with pytest.raises(Unsuitable, match=r'decoder\.embed_dims is 256 in the student and 128 in the teacher'):
        same_queries(networks(detector('DINO'), detector('DINO', dims=128)))
    with pytest.raises(Unsuitable, match='^the student is ModuleDict; valid: DETR'):
        same_queries(pair(bbox_head=nn.Identity()))
