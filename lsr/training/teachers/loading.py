"""From settings to a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lsr.training.settings import TeacherSettings
from lsr.training.teachers.base import Teacher


def load_teacher(
    settings: TeacherSettings, documents: Callable[[], Iterable[str]], device: str | None = None
) -> Teacher:
    """Load one teacher; `documents` gives the texts whose statistics ``bm25`` takes.

    Raises `UserError` for a model that is missing, damaged or of another make.
    """
    if settings.kind == "bm25":
        from lsr.training.teachers.sparse import Bm25Teacher

        return Bm25Teacher(documents())
    if settings.kind == "sparse":
        from lsr.encoders import load_encoder
        from lsr.encoders.options import EncoderOptions
        from lsr.training.teachers.sparse import SparseTeacher

        options = EncoderOptions(
            batch_size=settings.batch_size, max_length=settings.max_length, device=device
        )
        return SparseTeacher(load_encoder(settings.model, options))
    if settings.kind == "dense":
        from lsr.training.teachers.dense import DenseTeacher

        return DenseTeacher(
            settings.model, max_length=settings.max_length, batch_size=settings.batch_size, device=device
        )
    from lsr.training.teachers.cross_encoder import CrossEncoderTeacher

    return CrossEncoderTeacher(
        settings.model, max_length=settings.max_length, batch_size=settings.batch_size, device=device
    )
