"""Distillers of pose estimators."""
