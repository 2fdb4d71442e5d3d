"""The one exception for mistakes that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's, told in one clear sentence.

    The message names the file, line or option at fault and the way out. The command line prints
    it on standard error and exits with status 2, without a traceback.
    """
