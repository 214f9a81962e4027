"""The tasks of a contributor, CI and the pre-commit hook, run in nox's own environment: `nox --list` shows them."""

import sys

import nox

nox.options.default_venv_backend = "none"
PYTEST = (sys.executable, "-m", "pytest")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style and the format of all Python files."""
    session.run(sys.executable, "-m", "ruff", "check", *session.posargs, ".")
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package."""
    session.run(sys.executable, "-m", "mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, two files at once."""
    session.run(*PYTEST, "-n", "2", *session.posargs)


@nox.session(default=False)
def editors(session: nox.Session) -> None:
    """Drive VS Code, Neovim and Emacs; three files at once, because an editor mostly waits."""
    session.run(*PYTEST, "-n", "3", "tests/e2e/editors", *session.posargs, env={"CODEGEN_LSP_EDITORS": "1"})


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """Build the wheel, install it into environments of its own, and use it there."""
    session.run(*PYTEST, "tests/e2e/test_package.py", *session.posargs)


@nox.session(default=False)
def cluster(session: nox.Session) -> None:
    """Deploy the bundled model on Ray Serve, and kill a replica; requires the extra `ray`."""
    session.run(*PYTEST, "tests/cluster", *session.posargs)
