"""Chains of trainings in which later stages use checkpoints of earlier ones."""
