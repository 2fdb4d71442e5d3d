"""The inverted index."""
