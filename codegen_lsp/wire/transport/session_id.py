"""Name a document to a server without saying which one it is.

A router sends requests with the same `x-session-id` to the same replica, whose prefix cache holds the document. The
name is a keyed hash: the key is random and never leaves this process, so that a server can't find out the path by
trying paths, or recognize a document after a restart.
"""

from __future__ import annotations

import hashlib
import secrets

HEADER = "x-session-id"

_KEY = secrets.token_bytes(32)


def session_id(document: str, workspace: str = "") -> str:
    """Return the name of a document, 32 hexadecimal digits."""
    text = f"{workspace}\0{document}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=_KEY, digest_size=16).hexdigest()
