"""Pseudo labels: predictions of a teacher as ground truth for the student's own loss."""

from .pseudo_labels import PseudoLabels

__all__ = ['PseudoLabels']
