"""Distillation between the levels of a U-shaped network (DSD), with auxiliary heads."""
