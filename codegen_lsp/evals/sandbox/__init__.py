"""The sandbox: the only place where generated code runs."""
