"""The exception of the index room."""

from __future__ import annotations


class IndexProblem(Exception):
    """Something about an index, or what was handed to it, that the user can mend.

    The message is one clear sentence that names the folder, file or document at fault and the way
    out; the command line prints it without a traceback.
    """
