"""The engine as the language server sees it: a client behind a backend, and the supervision of a local process."""
