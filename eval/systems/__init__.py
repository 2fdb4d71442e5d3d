"""Systems that evaluations compare."""
