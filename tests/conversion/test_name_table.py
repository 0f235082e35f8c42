"""The table of names: fields of its templates, and the heads whose number follows from the decoder."""

from __future__ import annotations

from kd_plugins.conversion.name_table import PATTERNS, proposal_heads, rules
from tests.conversion.name_checks import fields_of


def test_templates_of_a_rule_have_the_same_fields() -> None:
    for rule in rules(3):
        fields = fields_of(rule)
        assert fields[0] == fields[1] == fields[2], rule
        assert fields[0] <= {*PATTERNS, 'i', 'k', 'once'}


def test_heads_of_the_proposals_come_last() -> None:
    assert [rule.own.split('.')[2] for rule in proposal_heads(4)] == ['4', '4']
    assert rules(4) != rules(6) and len(rules(4)) == len(rules(6))
