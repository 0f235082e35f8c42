"""Suggestions: the distillation entries that fit a model, with their taps filled in and tried on one batch."""
