"""Text of entries: it is Python that gives the entry back, in lines that fit."""

from hypothesis import given
from hypothesis import strategies as st

from kd_plugins.suggestions.text import WIDTH, assignment, value_text

names = st.text('abcdefgh_', min_size=1, max_size=12).filter(str.isidentifier)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(names, inner, max_size=6),
    max_leaves=30,
)


@given(values)
def test_it_gives_the_value_back(value):
    assert eval(value_text(value)) == value


def test_lines_fit_and_nesting_is_indented():
    entry = {
        'distill': {'type': 'kd_plugins.DistillHook', 'distillers': {f'name_{n}': {'weight': n} for n in range(9)}}
    }
    lines = assignment('default_hooks', entry).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert '        name_0=dict(weight=0),' in lines or '            name_0=dict(weight=0),' in lines
