"""Ranking and sparsity losses."""
