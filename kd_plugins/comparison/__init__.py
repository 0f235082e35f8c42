"""Comparison of runs over several seeds: plan, statistics and report."""
