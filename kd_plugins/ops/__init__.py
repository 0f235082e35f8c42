"""Tensor operations that losses and models share."""
