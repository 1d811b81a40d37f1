"""Prefixes and globs on object stores (s3://, gs://, ...) as lists of URIs."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pyarrow as pa
from pyarrow import fs

from dfbatch.errors import InvalidInput

_GLOB = re.compile(r"[*?\[]")
_WEB = ("http", "https")


def list_remote(uri: str, argument: str, alone: bool) -> list[str]:
    """The URIs that a remote URI stands for.

    A web address is one item. Elsewhere a glob or a URI that ends with a slash is listed, and so is, if it stands
    ``alone`` as the source, any URI that is a folder. Raises InvalidInput if nothing is there.
    """
    scheme = urlsplit(uri).scheme.lower()
    head, mark, query = uri.partition("?") if scheme in _WEB or "=" in uri.rpartition("?")[2] else (uri, "", "")
    pattern = _GLOB.search(head)
    if scheme in _WEB or not (alone or pattern or head.endswith("/")):
        return [uri]
    root = head[: head.rindex("/", 0, pattern.start()) + 1] if pattern else head
    try:
        filesystem, path = open_filesystem(root + mark + query)
        files = _files(filesystem, path, is_prefix=bool(pattern) or head.endswith("/"))
    except (OSError, pa.ArrowException, ValueError, ImportError) as error:
        raise InvalidInput(argument, f"'{uri}' cannot be listed ({error})", "Check the URI and your rights") from error
    found = sorted(_rebuild(root, path, file) + mark + query for file in files)
    if pattern:
        matches = re.compile(glob_regex(head))
        found = [file for file in found if matches.fullmatch(file.removesuffix(mark + query))]
    if not found:
        raise InvalidInput(argument, f"there is no file at '{uri}'", "Check the bucket, the prefix and your rights")
    return found


def open_filesystem(uri: str) -> tuple[Any, str]:
    """A ``pyarrow.fs`` file system and the path in it, by pyarrow itself or by fsspec for the schemes it lacks."""
    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
        return found
    except pa.ArrowInvalid:
        inner, path = fsspec.core.url_to_fs(uri)
        return fs.PyFileSystem(fs.FSSpecHandler(inner)), path


def glob_regex(pattern: str) -> str:
    """A glob as a regular expression: ``*`` and ``?`` stay within a folder, ``**/`` crosses folders."""
    tokens = re.split(r"(\*\*/|\*|\?|\[[^\]]+\])", pattern)
    known = {"**/": "(?:[^/]+/)*", "*": "[^/]*", "?": "[^/]", "": ""}
    parts = []
    for token in tokens:
        if token.startswith("[") and token.endswith("]"):
            body = token[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[^{body[1:]}]" if body.startswith("!") else f"[{body}]")
        else:
            parts.append(known.get(token, re.escape(token)))
    return "".join(parts)


def _files(filesystem: Any, path: str, is_prefix: bool) -> list[str]:
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.File and not is_prefix:
        return [path]
    selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
    return [
        found.path
        for found in filesystem.get_file_info(selector)
        if found.type == fs.FileType.File and not _hidden(found.path[len(path) :])
    ]


def _hidden(below: str) -> bool:
    return any(part.startswith(".") for part in below.split("/"))


def _rebuild(root: str, path: str, file: str) -> str:
    """The URI of ``file``, given the URI ``root`` of ``path`` in the same file system."""
    if file == path:
        return root
    return root.rstrip("/") + "/" + file[len(path.rstrip("/")) :].lstrip("/")
