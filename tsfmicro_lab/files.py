"""Files: safe names, written whole or not at all, and known by their hash."""

import errno
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

#: Longest name that is kept; file systems allow 255 bytes, and endings are added to it.
MAX_NAME = 100


def safe_name(text: str) -> str:
    """A file name for the name of a subject, a fold, a run or a data set.

    Letters, digits and `._-` stay. Where something had to be replaced or cut, `~` and a hash of the whole name follow,
    so that two names never share a file. It is one component of a path, on Windows, too: not empty, no device such as
    CON, without a dot at either end, and never longer than :data:`MAX_NAME`.

    Example:
        >>> safe_name("sub01"), safe_name("../sub 01")
        ('sub01', '_sub_01~441a2e61')
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".")[:MAX_NAME]
    name = re.sub(r"(?i)^(?=(con|prn|aux|nul|com\d|lpt\d)(\.|$))", "_", name)  # devices, on Windows
    if name == text and name:
        return name
    return f"{name[: MAX_NAME - 9]}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes to a path beside the target and renames, so that a file is there whole or not at all; creates its folder.

    Example:
        >>> write_whole(target, lambda path: path.write_text("whole"))  # doctest: +SKIP
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all, with the line ends that it has."""
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8", newline=""))


def bundled(name: str) -> Path:
    """A folder that comes with the lab: inside the installed package, or beside it in a checkout."""
    for place in (places := [folder / name for folder in Path(__file__).parents[:2]]):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"{name} is neither {places[0]} nor {places[1]}: install tsfmicro-lab again")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, by which its content is known."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, where a file belongs: move it away and start again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def space_advice(what: str, kept: str) -> Iterator[None]:
    """Says what could not be written and why, what to do (on a full disk: free some space), and what is kept."""
    try:
        yield
    except OSError as error:
        remedy = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "mend that"
        raise OSError(f"{what} ({error}): {remedy} and start again, {kept}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second run from writing to the same folder, which is created; a run that is killed lets go.

    The lock is that of an SQLite file: the operating system frees it when the process ends, however that happens.

    Raises:
        OSError: Another run has the folder, or its lock cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = sqlite3.connect(folder / ".lock", timeout=0)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise OSError(f"another run is writing to {folder} ({error}): wait for it, or stop it") from error
        raise OSError(f"{folder}/.lock cannot be used as a lock ({error}): delete it and start again") from error
    with closing(lock):
        yield


def check_own(folder: Path, maker: str, own: bool, *names: str) -> None:
    """Refuses to replace files of a folder that is not `maker`'s own; ask before the work.

    Raises:
        ValueError: One of the names is there.
    """
    if not own and (there := [name for name in names if (folder / name).exists()]):
        raise ValueError(f"{folder / there[0]} is not of {maker}: give another folder, or move it away")
