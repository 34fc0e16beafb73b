"""Errors that are meant for the person at the keyboard."""


class DIF3DError(Exception):
    """Something the user can act on. The message names what was wrong, where, and what to do about it.

    The worker turns it into a `Failure` without a traceback; the CLI prints it as it is. Anything else that is raised
    is a bug of ours and is reported with its traceback.
    """
