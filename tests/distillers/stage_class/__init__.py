"""Tests of class heads of stages."""
