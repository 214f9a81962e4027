"""The root of every error whose message is written for a person.

```
CodegenError
├── ConfigError         an option or flag is wrong           (engine.config)
├── WireError           the other side answered with an error (wire)
├── SessionError        the language server did not answer    (session)
└── ...                 each module draws its own below its root
```
The command line prints such a message as one sentence and leaves with exit code 2.
"""

from __future__ import annotations


class CodegenError(Exception):
    """Something a person can act on; `str(error)` says what happened and what to do next."""
