"""Tests of label-guided self-distillation."""
