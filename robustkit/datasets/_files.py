"""Where the files of a data set are, whether they are intact, and how they come here.

scikit-learn's `fetch_file` transfers and checks. It has no time limit, shows no
progress, asks again where the answer is final (404) and not where a connection was cut,
knows one address, and leaves a file that only its owner can read. This module adds
what is missing.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from threading import Thread
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError

from sklearn.datasets import fetch_file

from robustkit.exceptions import CorruptFileError, DownloadError


def data_folder(name: str, data_home: str | os.PathLike | None = None) -> Path:
    """Return the folder of one data set; it need not exist."""
    if data_home is None:
        data_home = os.environ.get("ROBUSTKIT_DATA") or "~/robustkit_data"
    return Path(data_home).expanduser() / name


@contextmanager
def open_verified(path: Path, checksum: str) -> Iterator[BinaryIO]:
    """Open a file for reading if its content is the one expected.

    The checksum is ``"sha256:..."``, or ``"md5:..."`` where the publisher gives only
    that. What is opened is the very file that was checked, even if another one takes
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


# Seconds without a single byte after which a server is given up.
PATIENCE = 30

# Answers of a server after which it is worth asking again; other 4xx are final.
_WORTH_ANOTHER_TRY = (408, 425, 429)


class RemoteFile(NamedTuple):
    """A file that can be downloaded from several addresses."""

    filename: str
    urls: tuple[str, ...]
    checksum: str  # "sha256:..."
    n_bytes: int


def ensure(
    remote: RemoteFile,
    folder: Path,
    *,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Path:
    """Return the path of a file, downloading it if it is not there.

    All addresses are tried again `n_retries` times, after `delay` seconds, then twice
    as many, and so on. The content still has to be verified, since the file may have
    been there already.
    """
    path = folder / remote.filename
    if not path.exists():
        if not download_if_missing:
            raise FileNotFoundError(
                f"{path} does not exist, and download_if_missing=False forbids to "
                f"fetch it from {remote.urls[0]}."
            )
        _download(remote, path, n_retries, delay)
    return path


def _download(remote, path, n_retries, delay):
    """Try every address, again and again, until one gives the right file."""
    failures, given_up, n_tries = {}, set(), 0
    with _private_folder(path.parent) as private, _progress(remote) as advance:
        for url in _attempts(remote.urls, given_up, n_retries, delay):
            n_tries += 1
            own = Path(mkdtemp(dir=private))
            try:
                arrived = _transfer(url, remote, own, advance)
            except (OSError, HTTPException) as error:
                failures[url] = f"{url}: {str(error) or repr(error)}"
                if _is_final(error):
                    given_up.add(url)
                if isinstance(error, HTTPError):
                    error.close()  # It is also the answer, with an open socket.
                continue
            _make_readable(arrived)
            # Atomic: under its own name a file is there whole, or not at all.
            os.replace(arrived, path)
            return
    raise DownloadError(
        f"Could not download {path} (tries: {n_tries}); {'; '.join(failures.values())}"
    )


def _attempts(urls, given_up, n_retries, delay):
    """Yield the addresses round by round, less those given up meanwhile."""
    for n_rounds in range(n_retries + 1):
        if given_up.issuperset(urls):
            return
        if n_rounds:
            time.sleep(delay * 2 ** (n_rounds - 1))
        yield from (url for url in urls if url not in given_up)


def _is_final(error):
    return (
        isinstance(error, HTTPError)
        and 400 <= error.code < 500
        and error.code not in _WORTH_ANOTHER_TRY
    )


@contextmanager
def _private_folder(folder):
    """Make a folder of this download's own beside its goal, and leave none behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        private = TemporaryDirectory(
            prefix=".incomplete-", dir=folder, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise DownloadError(
            f"Could not write to {folder} ({error.strerror}). Choose another folder "
            "with data_home= or the environment variable ROBUSTKIT_DATA."
        ) from error
    with private as name:
        yield Path(name)


def _make_readable(path):
    """Give a file the permissions that a new file gets here.

    `fetch_file` leaves it readable for its owner only, and a data home may be shared.
    """
    new = path.with_name("new")
    new.touch()
    path.chmod(stat.S_IMODE(new.stat().st_mode))


def _transfer(url, remote, folder, advance):
    """Let `fetch_file` work in a thread, and watch what arrives in its folder.

    It has no time limit, so a server that falls silent would hold the caller for ever.
    """
    transfer = Future()
    Thread(target=_settle, args=(transfer, url, remote, folder), daemon=True).start()
    n_bytes, since = 0, time.monotonic()
    while not wait([transfer], timeout=0.1).done:
        n_arrived = _n_bytes_in(folder)
        advance(n_arrived)
        if n_arrived != n_bytes:
            n_bytes, since = n_arrived, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            raise TimeoutError(f"no byte arrived for {PATIENCE} seconds")
    return transfer.result()


def _settle(transfer, url, remote, folder):
    try:
        path = fetch_file(
            url,
            folder=folder,
            local_filename=remote.filename,
            sha256=remote.checksum.removeprefix("sha256:"),
            n_retries=0,
        )
    except Exception as error:
        transfer.set_exception(error)
    else:
        transfer.set_result(path)


def _n_bytes_in(folder):
    n_bytes = 0
    for path in folder.iterdir():
        # `fetch_file` may rename it just now.
        with suppress(FileNotFoundError):
            n_bytes += path.stat().st_size
    return n_bytes


@contextmanager
def _progress(remote):
    """Show a bar on a terminal or in a notebook; elsewhere stay silent."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
    ) as progress:
        task = progress.add_task(remote.filename, total=remote.n_bytes)
        yield lambda n_bytes: progress.update(task, completed=n_bytes)
        progress.update(task, completed=remote.n_bytes)
