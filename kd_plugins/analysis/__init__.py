"""Reading runs, comparing them over seeds, and writing the result."""
