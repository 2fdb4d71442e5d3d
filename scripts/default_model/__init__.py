"""Training of the default models; see ../train_default.py."""

from __future__ import annotations
