"""Encoders: text in, term weights out."""
