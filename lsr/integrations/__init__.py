"""Indexes in other people's frameworks: one small module each, which imports the framework it is for."""
