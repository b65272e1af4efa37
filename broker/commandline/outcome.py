"""How a command ends, in the exit statuses a script can trust.

0   done, or shown
1   failed or refused: a broker said no, could not be reached, or something was found damaged
2   wrong use: nothing was tried, the command line has to change
"""

from __future__ import annotations

FAILED = 1
WRONG_USE = 2


class CommandFailed(Exception):
    """What was asked for did not happen, or not whole."""

    exit_status = FAILED


class WrongUse(CommandFailed):
    """The command line asks for something that cannot be meant."""

    exit_status = WRONG_USE
