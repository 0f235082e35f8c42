"""Dual self-distillation (DSD)."""
