"""Locks on open files, which tell one process that another works on the same."""

import errno

import portalocker


def lock_at_once(number: int) -> bool:
    """Lock an open file without waiting; the system unlocks it when it is closed.

    Args:
        number: Its descriptor.

    Returns:
        Whether nobody else holds it.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        portalocker.lock(number, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        raise OSError(errno.ENOLCK, "a file system without locks") from error
    return True
