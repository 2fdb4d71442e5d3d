"""Engines that read what ``lsr export`` wrote, for export_parity.py."""
