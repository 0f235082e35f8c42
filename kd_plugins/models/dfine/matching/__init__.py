"""One-to-one matching of queries to objects, and its union over the decoder layers."""

from .hungarian import Pairs, assign, matching_costs
from .union import lost_objects, union

__all__ = ['Pairs', 'assign', 'lost_objects', 'matching_costs', 'union']
