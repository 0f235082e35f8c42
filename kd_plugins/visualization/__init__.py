"""Pictures of what a model says; they need matplotlib, which is imported when one is drawn."""

from .refinement import best_queries, draw_refinement, pixel_corners, record_refinement

__all__ = ['best_queries', 'draw_refinement', 'pixel_corners', 'record_refinement']
