"""Learn which fields of a completions request a server refuses, and leave them out from then on.

Servers differ in `n`, `logprobs`, `suffix` and `stream_options`. A refusal that names one of them, or an unspecific
refusal of the first request, is answered by a second request without the fields; what was learned applies to the
server's client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from codegen_lsp.wire.errors import RequestError, is_too_long

OPTIONAL = {
    "n": re.compile(r"""['"`]n['"`]|\bn\s*(?:[><=!]|must|should|is\b|greater|other)|\bbody[.\s]n\b"""),
    "logprobs": re.compile(r"\blog_?probs?\b", re.IGNORECASE),
    "suffix": re.compile(r"\bsuffix\b|\binsert\b", re.IGNORECASE),
    "stream_options": re.compile(r"\bstream_?options\b|\binclude_usage\b", re.IGNORECASE),
}
"""Fields that a request can do without, and how a server's message names them."""


class Dialect:
    """What one server accepts."""

    def __init__(self) -> None:
        self.refused: frozenset[str] = frozenset()
        """Fields that the server has refused, and answered without."""
        self._proven = False

    def adapt(self, body: Mapping[str, Any], without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return a request's body without the fields that the server refuses."""
        return {name: value for name, value in body.items() if name not in self.refused | without}

    def accepted(self, without: frozenset[str]) -> None:
        """Take note of an answered request: what it did without is left out from now on."""
        self.refused |= without
        self._proven = True

    def blamed(self, error: RequestError, body: Mapping[str, Any]) -> frozenset[str]:
        """Return the fields of a refused request without which it is worth sending again."""
        if is_too_long(error):
            return frozenset()
        optional = frozenset(name for name in OPTIONAL if name in body and (name, body[name]) != ("n", 1))
        if error.param is not None:
            named = {error.param.partition(".")[0]}
        else:
            named = {name for name, pattern in OPTIONAL.items() if pattern.search(error.message)}
        if named or self._proven:
            return optional & named
        return optional
