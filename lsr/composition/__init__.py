"""Encoders as trainable PyTorch modules: a document side and a query side, composed of parts."""
