"""Where the files of a data set lie, and whether they are what they promise."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

from robustkit.exceptions import CorruptFileError

__all__ = ["data_folder", "open_verified"]


def data_folder(name, data_home=None):
    """Find the folder of one data set; it need not exist.

    Parameters
    ----------
    name : str
        Name of the data set.

    data_home : str or path-like, default=None
        The folder that holds the folders of all data sets. None is the environment
        variable ROBUSTKIT_DATA, and where that is not set ``~/robustkit_data``.

    Returns
    -------
    folder : Path
        ``data_home / name``.
    """
    if data_home is None:
        data_home = os.environ.get("ROBUSTKIT_DATA") or "~/robustkit_data"
    return Path(data_home).expanduser() / name


@contextmanager
def open_verified(path, checksum):
    """Open a file for reading if its content is the one expected.

    Parameters
    ----------
    path : Path
        The file.

    checksum : str
        ``"sha256:..."``, or ``"md5:..."`` where the publisher gives only that.

    Yields
    ------
    file : binary file
        At its start. It is the very file that was checked, even if another one takes
        its name meanwhile.
    """
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        digest = hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        )
        if digest.hexdigest() != expected:
            raise CorruptFileError(
                f"{path} is corrupt or incomplete: its {algorithm} should be {expected}"
                f", but is {digest.hexdigest()}. Delete it and fetch it again."
            )
        file.seek(0)
        yield file
