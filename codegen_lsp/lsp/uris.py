"""When two URIs name the same document.

Clients escape characters differently (`c%3A` and `c:`), and Windows drive letters have no case. The client's own
spelling is what goes back to it; this one is for comparing.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_DRIVE = re.compile(r"(file:/+)([A-Za-z])(?=:)", re.IGNORECASE)


def canonical(uri: str) -> str:
    """Return the spelling of a URI that all equal URIs share.

    `file:///C%3A/a%20b.py` and `file:///c:/a b.py` both become `file:///c:/a b.py`.
    """
    return fold_drive(unquote(uri))


def fold_drive(uri: str) -> str:
    """Return a URI with its Windows drive letter, if it has one, in lower case."""
    return _DRIVE.sub(lambda match: match[1].lower() + match[2].lower(), uri)
