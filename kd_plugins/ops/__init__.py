"""Tensor operations that losses, models and metrics share."""
