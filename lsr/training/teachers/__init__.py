"""Teachers in the training loop: models and BM25 that rate the documents of a batch."""

from __future__ import annotations

from lsr.training.teachers.base import Teacher
from lsr.training.teachers.loading import load_teacher
from lsr.training.teachers.panel import TeacherPanel

__all__ = ["Teacher", "TeacherPanel", "load_teacher"]
