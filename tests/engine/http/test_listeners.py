"""What stands at the path of a socket, or of its lock, is only taken away if it is ours."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.served import environment

from codegen_lsp.engine.http.listeners import Address, tcp_listener, unix_listener
from codegen_lsp.engine.http.team.users import User, read_users
from codegen_lsp.wire.config import ConfigError


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught, unix_listener(path):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_serve_does_not_delete_the_file_that_it_is_given(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("years of work")
    result = subprocess.run(
        [sys.executable, "-m", "codegen_lsp", "serve", "--socket", str(notes)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "is not a socket" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert notes.read_text() == "years of work"


def make_link(path: Path) -> None:
    path.with_name("target").write_text("kept")
    path.symlink_to(path.with_name("target"))


@pytest.mark.parametrize("make", [Path.mkdir, make_link], ids=["folder", "link"])
def test_nothing_but_a_socket_is_removed(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "engine.sock"
    make(path)
    refused(path, "is not a socket")
    assert path.is_symlink() or path.is_dir()


def test_the_socket_of_another_program_stays(tmp_path: Path) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        refused(path, "another program listens")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_lock_follows_no_link_and_takes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    lock = tmp_path / "engine.sock.lock"
    make_link(lock)
    refused(path, "is a link")
    assert (tmp_path / "target").read_text() == "kept"
    lock.unlink()
    lock.write_text("a file of the user")
    refused(path, "is not a lock file of yours")
    assert lock.read_text() == "a file of the user"


def test_folders_that_others_can_write_to_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    refused(folder / "engine.sock", "other users can write")
    folder.chmod(0o1777)
    with unix_listener(folder / "engine.sock"):
        assert (folder / "engine.sock").is_socket()
    assert not list(folder.iterdir())


def test_a_socket_that_took_its_place_stays_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    with unix_listener(path), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
    assert path.is_socket()


def test_tokens_are_read_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# ann\nabc\n\n  def  \n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_users(path)
    path.chmod(0o600)
    assert read_users(path) == (User.of("abc"), User.of("def"))
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="holds no token"):
        read_users(path)


async def test_connections_over_tcp_send_without_waiting_for_acknowledgements() -> None:
    """The option is read from the connection that the server itself has accepted."""
    options: asyncio.Queue[int] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        options.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with tcp_listener(Address()) as listener:
        server = await asyncio.start_server(serve, sock=listener)
        async with server:
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await asyncio.wait_for(options.get(), 10)
            writer.close()
            await writer.wait_closed()
