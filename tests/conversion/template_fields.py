"""Fields of the templates of a rule of names."""

from __future__ import annotations

import re
from collections.abc import Sequence


def fields_of(rule: Sequence[str]) -> list[set[str]]:
    """Return the fields of each template; ``once`` and ``twice`` are one number in two layouts."""
    fields = [set(re.findall(r'\{(\w+)\}', template)) for template in rule]
    return [{'once' if field == 'twice' else field for field in names} for names in fields]
