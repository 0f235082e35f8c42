"""Compare runs over several seeds."""
