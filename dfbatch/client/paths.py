"""Paths, folders, globs and URI prefixes as lists of URIs, in a stable order."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from dfbatch.client.remote_paths import list_remote
from dfbatch.errors import InvalidInput

_SUFFIXES = (
    "jpg|jpeg|jpe|png|webp|gif|bmp|tif|tiff|heic|heif|avif|jxl|jp2|mp4|m4v|mov|mkv|webm|avi|mpg|mpeg|ts|3gp|wmv|flv|"
    "wav|mp3|m4a|aac|flac|ogg|oga|opus|aif|aiff|wma|amr|pdf"
)
_KNOWN = rf"(?i)\.({_SUFFIXES})$"
_GLOB = r"[*?\[]"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def expand_argument(path: str, argument: str = "source") -> list[str]:
    """The URIs that a single path, folder, glob or URI prefix stands for: at least one.

    Folders are read with all their subfolders, sorted by path; hidden files and folders and whatever is no regular
    file are left out. Raises InvalidInput if nothing is there or it may not be read.
    """
    if not path.strip():
        raise InvalidInput(argument, "is an empty path", "Name a file, a folder or a glob such as 'photos/*.jpg'")
    if _SCHEME.match(path):
        local = local_path(path)
        if local is None:
            return list_remote(path, argument, alone=True)
        path = local
    literal = _literal(path)
    mode = _mode(literal, argument)
    if mode is None:
        return [uri_of(found) for found in _glob(path, argument)]
    if stat.S_ISDIR(mode):
        found = list(walk(literal, argument))
        if not found:
            raise InvalidInput(argument, f"the folder '{literal}' holds no file", "Hidden files are not taken")
        return [uri_of(file) for file in found]
    if not stat.S_ISREG(mode):
        raise InvalidInput(argument, f"'{path}' is neither a file nor a folder", "Name a regular file")
    return [uri_of(literal)]


def expand_list(paths: list[str], argument: str = "source", first: int = 0) -> list[str]:
    """The URIs that the elements of a list stand for, in their order; ``first`` is the index of the first one.

    Folders, globs and prefixes are expanded. A file that is not there stays an item, and becomes a failed row.
    """
    special = _special(paths)
    if not special:
        return paths
    uris: list[str] = []
    for i, path in enumerate(paths):
        uris += expand_element(path, f"{argument}[{first + i}]") if i in special else [path]
    return uris


def expand_element(path: str, where: str) -> list[str]:
    """The URIs that one element of a list stands for; a missing file stands for itself."""
    if not path.strip():
        raise InvalidInput(where, "is an empty path", "Leave it out, or name a file")
    if _SCHEME.match(path):
        local = local_path(path)
        if local is None:
            return list_remote(path, where, alone=False)
        path = local
    literal = _literal(path)
    if path.endswith(os.sep) or os.path.isdir(literal):
        return expand_argument(path, where)
    if re.search(_GLOB, path) and not os.path.lexists(literal):
        return [uri_of(found) for found in _glob(path, where)]
    return [uri_of(literal)]


def absolute_uris(uris: Any, argument: str = "source") -> Any:
    """A string column with relative paths made absolute and ``~`` expanded; nothing is looked up."""
    odd = pc.invert(pc.match_substring_regex(uris, r"^(/|[A-Za-z][A-Za-z0-9+.-]+://)"))
    if not pc.any(odd).as_py():
        return uris
    values = uris.to_pylist()
    for i in pc.indices_nonzero(pc.fill_null(odd, False)).to_pylist():
        if not values[i].strip():
            raise InvalidInput(argument, f"row {i} has an empty path", "Leave the row out, or name a file")
        values[i] = uri_of(_literal(values[i]))
    return pa.array(values, pa.string())


def walk(folder: str, argument: str = "source") -> Iterator[str]:
    """Regular files below a folder in a stable order; hidden ones, and links to folders, are left out."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        raise InvalidInput(
            argument, f"the folder '{folder}' cannot be read ({error.strerror})", "Ask for permission, or leave it out"
        ) from error
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path, argument)
        elif entry.is_file():
            yield entry.path


def uri_of(path: str) -> str:
    """An absolute local path as it is stored: itself, or a ``file://`` URI if its name is no valid text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return path


def _special(paths: list[str]) -> set[int]:
    """Indices of elements that must be looked at: relative, folders perhaps, globs, prefixes, names of odd bytes."""
    try:
        column = pa.array(paths, pa.string())
    except UnicodeEncodeError:
        return set(range(len(paths)))
    # A remote URI is taken as it is: asking a server about each would take longer than to verify some.
    local = pc.match_substring_regex(column, r"^(/|[A-Za-z][A-Za-z0-9+.-]+://)")
    remote_here = pc.match_substring_regex(column, r"^(?i:file):")
    known = pc.match_substring_regex(column, _KNOWN)
    plain = pc.and_(pc.and_(local, known), pc.invert(pc.match_substring_regex(column, _GLOB)))
    plain = pc.and_(plain, pc.invert(remote_here))
    return set(pc.indices_nonzero(pc.invert(plain)).to_pylist())


def _literal(path: str) -> str:
    if path.startswith("~") and not os.path.lexists(path):
        path = os.path.expanduser(path)
    return os.path.abspath(path)


def local_path(uri: str) -> str | None:
    """The path of a ``file://`` URI of this machine, else None; ``?`` and ``#`` are letters of file names."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if scheme.lower() != "file" or host not in ("", "localhost"):
        return None
    return unquote(slash + path, errors="surrogateescape")


def _mode(path: str, argument: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(argument, f"{path!r} cannot be read ({reason})", "Check the path and its rights") from error


def _glob(pattern: str, argument: str) -> list[str]:
    if not re.search(_GLOB, pattern):
        raise InvalidInput(
            argument,
            f"there is no file or folder {pattern!r}",
            f"Relative paths start at '{os.getcwd()}'",
        )
    found = sorted(os.path.abspath(p) for p in glob.glob(os.path.expanduser(pattern), recursive=True))
    files = [path for path in found if os.path.isfile(path)]
    if not files:
        hint = "It matches folders only; add '/**/*' for the files in them" if found else "Check it with glob.glob()"
        raise InvalidInput(argument, f"no file matches {pattern!r}", hint)
    return files
