"""The exception of the index room."""

from __future__ import annotations


class IndexProblem(Exception):
    """Something about an index, or what was handed to it, that the user can mend.

    The message is one clear sentence that names the folder, file or document at fault and the way
    out; the command line prints it without a traceback.
    """


class FilterProblem(IndexProblem):
    """A mistake in a filter over documents' fields; the index itself is well."""


class IndexBusy(IndexProblem):
    """Another process is changing the index; it can be changed when that is done."""


class DuplicateId(IndexProblem):
    """A document to be added has the id of another one."""


class MissingId(IndexProblem):
    """A document to be deleted is not there."""
