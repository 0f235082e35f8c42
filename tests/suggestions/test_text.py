"""Text of entries: it is Python that gives the entry back, in lines that fit."""

from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import Registry

from kd_plugins.suggestions.text import WIDTH, assignment, update, value_text

names = st.text('abcdefgh_.', max_size=12)  # among them keywords, and names that are none
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=6) | st.lists(inner, max_size=6).map(tuple) | st.dictionaries(names, inner, max_size=6)
    ),
    max_leaves=30,
)


@given(values)
def test_it_gives_the_value_back(value):
    assert eval(value_text(value)) == value


def test_steps_of_a_pipeline_keep_their_tuples():
    """MMCV's RandomResize and RandomChoiceResize refuse lists in their place."""
    step = {'type': 'RandomChoiceResize', 'scales': [(1333, 480 + 32 * index) for index in range(30)]}
    for entry in (step, {'type': 'RandomResize', 'scale': ((1333, 480), (1333, 800))}):
        copied = {}
        exec(assignment('step', entry), copied)
        assert copied['step'] == entry


def test_classes_are_named_by_where_they_are_defined():
    """Steps of a config of MMEngine's new style are classes, which MMEngine finds by such a name."""
    assert value_text({'type': Registry}) == "dict(type='mmengine.registry.registry.Registry')"
    assert value_text({'type': value_text}) == "dict(type='kd_plugins.suggestions.text.value_text')"
    assert Registry('steps').get('mmengine.registry.registry.Registry') is Registry


def test_an_update_changes_a_dict():
    hooks = {'logger': {'interval': 50}}
    lines = update('hooks', {'distill': {f'name_{number}': {'weight': number} for number in range(9)}})
    exec(lines, {'hooks': hooks})
    assert hooks['logger'] == {'interval': 50} and hooks['distill']['name_8'] == {'weight': 8}
    assert max(map(len, lines.splitlines())) <= WIDTH


def test_lines_fit_and_nesting_is_indented():
    entry = {
        'distill': {'type': 'kd_plugins.DistillHook', 'distillers': {f'name_{n}': {'weight': n} for n in range(9)}}
    }
    lines = assignment('default_hooks', entry).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert '        name_0=dict(weight=0),' in lines or '            name_0=dict(weight=0),' in lines
