"""TODO."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an answer, or one candidate, came to nothing. The value is what users and editors see."""

    LOADING = "loading"
    STARTING = "starting"
    UNAVAILABLE = "engine-unavailable"
    ENGINE_ERROR = "engine-error"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    DISABLED = "language-disabled"
    TOO_LARGE = "document-too-large"
    NO_CONTEXT = "nothing-to-go-on"
    INSIDE_WORD = "inside-word"
    EMPTY = "empty"
    REPETITION = "repetition"
    OPEN_STRING = "open-string"
    REPEATS_SUFFIX = "repeats-suffix"
    REPEATS_PREFIX = "repeats-prefix"
    LOW_CONFIDENCE = "low-confidence"
    DUPLICATE = "duplicate"
    MISMATCH = "mismatches-selection"
    BUSY = "busy"
