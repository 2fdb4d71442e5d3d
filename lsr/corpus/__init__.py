"""Readers: anything that holds texts becomes a stream of documents."""
