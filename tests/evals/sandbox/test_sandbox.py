"""The sandbox against programs that try to get out, behind the walls that this machine allows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.hostile_programs import FORGERIES, PROGRAMS

import codegen_lsp.evals.sandbox.sandbox as module
from codegen_lsp.evals.sandbox.sandbox import Judging, Level, Limits, Sandbox, SandboxError

LIMITS = Limits(seconds=1.5, memory=256 * 2**20)
WALLS: tuple[Level, ...] = ("namespaces", "seccomp")


@dataclass
class World:
    """What the hostile programs aim at: a folder, a process, sockets, a secret, all of this test's own."""

    folder: Path
    victim: subprocess.Popen[bytes]
    port: int
    socket: str
    abstract: str
    datagrams: str
    connections: list[object]

    def fill(self, program: str) -> str:
        """The program, aimed."""
        values = {
            "{victim}": str(self.victim.pid),
            "{port}": str(self.port),
            "{folder!r}": repr(str(self.folder)),
            "{socket!r}": repr(self.socket),
            "{abstract!r}": repr(self.abstract),
            "{datagrams!r}": repr(self.datagrams),
        }
        for name, value in values.items():
            program = program.replace(name, value)
        return program

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {p.name: (p.read_bytes(), p.stat().st_mode) for p in self.folder.iterdir()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "precious.txt").write_text("precious", encoding="utf-8")
    folder.chmod(0o777)
    (folder / "precious.txt").chmod(0o666)
    environment = os.environ | {"CODEGEN_TEST_SECRET": "hunter2"}
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    connections: list[object] = []
    path, abstract = str(folder.parent / "s.sock"), f"\0codegen-{os.getpid()}"
    listeners = [socket.create_server(("127.0.0.1", 0))]
    for address in (path, abstract):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(address)
        listeners[-1].listen()
    Path(path).chmod(0o777)
    letters = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    letters.bind(str(folder.parent / "d.sock"))
    Path(letters.getsockname()).chmod(0o777)

    def accept(listener: socket.socket) -> None:
        try:
            while True:
                connections.append(listener.accept())
        except OSError:
            pass

    threads = [threading.Thread(target=accept, args=(x,), daemon=True) for x in listeners]
    for thread in threads:
        thread.start()
    yield World(
        folder, victim, listeners[0].getsockname()[1], path, abstract, letters.getsockname(), connections
    )
    letters.setblocking(False)
    with pytest.raises(BlockingIOError):
        letters.recv(1)
    letters.close()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(5)
    victim.kill()
    victim.wait()


@pytest.fixture(scope="module", params=WALLS)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return Sandbox(LIMITS, level=request.param)
    except SandboxError as error:
        pytest.skip(f"this machine does not allow {request.param}: {error}")


def children() -> list[int]:
    """Processes of this test's sandboxes that are alive, wherever they went; not those of other tests that run now."""
    here = psutil.Process()
    above = {1, *(process.pid for process in here.parents())}
    alive = []
    for process in filter(confined, psutil.process_iter()):
        parents = process.parents()
        outside = next((parent.pid for parent in parents if not confined(parent)), 1)
        if outside in above or here in parents:
            alive.append(process.pid)
    return alive


def confined(process: psutil.Process) -> bool:
    """Whether a process is one of a sandbox."""
    path = str(Path(module.__file__).parent / "confined")
    try:
        line, status = process.cmdline(), process.status()
    except psutil.NoSuchProcess:
        return False
    return any(path in word for word in line) and status != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_program_fails_and_leaves_nothing(
    name: str, sandbox: Sandbox, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CODEGEN_TEST_SECRET", "hunter2")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    files = world.files()
    began = time.monotonic()
    result = sandbox.run(world.fill(PROGRAMS[name]))
    took = time.monotonic() - began
    assert not result.passed, result
    assert result.verdict() != "passed"
    # The limit, and what a busy machine may need to start and end a process.
    assert took < LIMITS.seconds + 6
    assert children() == []
    assert world.files() == files
    assert world.victim.poll() is None
    assert world.connections == []
    assert len(result.output) <= 64 * 1024
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORGERIES)
def test_no_program_says_for_itself_that_it_passed(name: str, sandbox: Sandbox) -> None:
    assert sandbox.walls.witness, "this machine does not show where a process stops"
    result = sandbox.run(FORGERIES[name])
    assert not result.passed, result
    assert result.value is None


def test_a_program_that_passes_is_seen_to_pass(sandbox: Sandbox) -> None:
    result = sandbox.run("def f(n):\n    return n and f(n - 1)\nf(900)")
    assert (result.passed, result.witnessed) == (True, True)
    assert sandbox.walls.describe()["verdict"] == "seen from another process"


def test_a_result_with_methods_of_its_own_is_refused(sandbox: Sandbox) -> None:
    driver = "class A(list):\n    pass\ndef run(program, payload):\n    return A()"
    result = sandbox.run("", driver=driver)
    assert not result.passed
    assert "not plain data" in result.message or "PicklingError" in result.message


@pytest.mark.parametrize("call", ["__import__, ('json',)", "eval, ('1 + 1',)", "__import__('os').getcwd, ()"])
def test_a_result_that_calls_something_is_refused(sandbox: Sandbox, call: str) -> None:
    driver = (
        f"class A:\n    def __reduce__(self):\n        return {call}\n"
        "def run(program, payload):\n    return A()"
    )
    result = sandbox.run("", driver=driver)
    assert not result.passed
    assert "is not allowed" in result.message


def test_a_program_holds_no_descriptor_of_its_keeper(sandbox: Sandbox) -> None:
    program = (
        "import os\nopened = []\nfor number in range(256):\n    try:\n        os.fstat(number)\n"
        "        opened.append(number)\n    except OSError:\n        pass\nassert opened == [0, 1, 2, 3], opened"
    )
    assert sandbox.run(program).verdict() == "passed"


def test_a_judge_compares_with_a_secret_that_the_program_never_had(sandbox: Sandbox) -> None:
    judging = Judging("def judge(value, secret):\n    return {'same': value == secret}", [1, 2])
    driver = "def run(program, payload):\n    return eval(program)"
    assert sandbox.run("[1, 2]", driver=driver, judging=judging).value == {"same": True}
    assert sandbox.run("(1, 2)", driver=driver, judging=judging).value == {"same": False}


def test_root_is_nobody_in_there(sandbox: Sandbox) -> None:
    assert sandbox.run("import os\nassert os.getuid() != 0\nassert os.getgid() != 0").verdict() == "passed"


@pytest.mark.parametrize(
    ("program", "outcome", "message"),
    [
        ("x = 1", "passed", ""),
        ("1 / 0", "raised", "ZeroDivisionError: division by zero"),
        ("assert 1 == 2", "raised", "AssertionError"),
        ("def f(:", "raised", "SyntaxError"),
        ("while True: pass", "timeout", "ran past 1.5 s"),
        ("import os; os._exit(0)", "silent", "left with status 0 and no verdict"),
        ("import os; os.write(1, b'x' * (9 << 20))", "flood", "wrote more than"),
        ("x = bytearray(1 << 30)", "raised", "MemoryError"),
        ("import ctypes; ctypes.string_at(0)", "killed", "ended by SIGSEGV"),
    ],
)
def test_outcome_says_what_happened(sandbox: Sandbox, program: str, outcome: str, message: str) -> None:
    result = sandbox.run(program)
    assert result.outcome == outcome
    assert result.message.startswith(message)


@pytest.mark.parametrize(
    "program",
    [
        "import math, random, re, collections, itertools, functools, string, datetime, hashlib, typing, heapq",
        "import decimal, fractions, statistics, bisect, copy, json, operator, dataclasses, enum, unittest",
        "print('é 日本 \\U0001f600')",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "def f(n):\n    return n and f(n - 1)\nf(900)",
        "",
        "# coding: utf-8\n",
        # A program may close its output.
        "import sys\nsys.stdout.close()",
        "import os\nos.close(1)\nos.close(2)",
        "import sys\nsys.stdout = None",
    ],
)
def test_honest_program_passes(sandbox: Sandbox, program: str) -> None:
    assert sandbox.run(program).verdict() == "passed"


def test_output_is_kept_as_text(sandbox: Sandbox) -> None:
    result = sandbox.run(
        "import sys\nprint('é 😀')\nprint('e', file=sys.stderr)\nsys.stdout.buffer.write(b'\\xff')"
    )
    assert result.passed
    assert sorted(result.output) == sorted("é 😀\ne\n�")


def test_writes_its_own_folder() -> None:
    sandbox = Sandbox(LIMITS, level="namespaces")
    program = "open('a.txt', 'w').write('x')\nassert open('/tmp/a.txt').read() == 'x'"
    assert sandbox.run(program).verdict() == "passed"
    # Python's own folders show there where they are installed below /tmp; nothing else ever does.
    own = {Path(p).parts[2] for p in sandbox._readable if p.startswith("/tmp/")}
    listing = (
        f"import os\nassert set(os.listdir('.')) == {own!r}"
        if own
        else "import os\nassert os.listdir('.') == []"
    )
    assert sandbox.run(listing).verdict() == "passed"


def test_driver_gets_program_and_payload_and_returns_a_value(sandbox: Sandbox) -> None:
    driver = "def run(program, payload):\n    return {'words': program.split(), 'given': payload}"
    result = sandbox.run("not even a program", driver=driver, payload={"a": [1, None]})
    assert result.passed
    assert result.value == {"words": ["not", "even", "a", "program"], "given": {"a": [1, None]}}


def test_packages_only_where_asked(sandbox: Sandbox) -> None:
    assert "ModuleNotFoundError" in sandbox.run("import numpy").message
    with_packages = Sandbox(Limits(seconds=20), level=sandbox.walls.level, packages=True)
    assert with_packages.run("import numpy\nassert numpy.arange(3).sum() == 3").verdict() == "passed"


def test_several_threads_may_run_programs(sandbox: Sandbox) -> None:
    results: list[str] = []
    programs = ["x = 1", "1 / 0"] * 4

    def work(program: str) -> None:
        results.append(program + sandbox.run(program, limits=Limits(seconds=20)).outcome)

    threads = [threading.Thread(target=work, args=(p,)) for p in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(["x = 1passed", "1 / 0raised"] * 4)


def test_dies_with_the_evaluation(sandbox: Sandbox) -> None:
    """An evaluation that is killed leaves no program running."""
    code = (
        "from codegen_lsp.evals.sandbox.sandbox import *\n"
        f"Sandbox(Limits(seconds=600), level={sandbox.walls.level!r}).run('while True: pass')"
    )
    root = str(Path(module.__file__).parents[3])
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": root})
    wait_for(lambda: len(children()) > 0)
    time.sleep(0.3)
    process.kill()
    process.wait()
    wait_for(lambda: children() == [])


def wait_for(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hooks_alone_take_an_explicit_word() -> None:
    with pytest.raises(SandboxError, match="--unsafe"):
        Sandbox(LIMITS, level="hooks")
    sandbox = Sandbox(LIMITS, level="hooks", unsafe=True)
    assert "no protection" in sandbox.walls.describe()["network"]
    assert sandbox.run("import random, collections").verdict() == "passed"
    for program in (
        "import socket\nsocket.socket()",
        "open('/tmp/x', 'w')",
        "import os\nos.remove('/tmp/x')",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.fork()",
    ):
        assert "sandbox" in sandbox.run(program).message


def test_best_walls_are_found() -> None:
    walls = Sandbox(LIMITS).walls
    assert walls.level in WALLS
    assert set(walls.describe()) == {"processes", "network", "files", "rights", "verdict"}


def test_unprivileged_user_gets_the_same_walls(tmp_path: Path) -> None:
    """Root is not needed, and is no way around the limits."""
    if os.getuid() != 0:
        pytest.skip("this test changes its user; the others ran without root already")
    code = (
        "import os\nfrom codegen_lsp.evals.sandbox.sandbox import *\n"
        "os.setgroups([])\nos.setresgid(65534, 65534, 65534)\n"
        "os.setresuid(65534, 65534, 65534)\nsandbox = Sandbox(Limits(seconds=20), level='namespaces')\n"
        "fork = 'import os, time\\nn = 0\\nfor i in range(9):\\n    try:\\n        if os.fork() == 0: time.sleep(9)\\n"
        "        n += 1\\n    except OSError: pass\\nprint(n)'\n"
        'print(sandbox.run(fork).output.strip(), sandbox.run(\'open("/usr/x", "w")\').message)'
    )
    root = str(Path(module.__file__).parents[3])
    reachable = all(p.stat().st_mode & 0o001 for p in Path(sys.executable).resolve().parents)
    python = sys.executable if reachable else shutil.which("python3", path="/usr/bin") or ""
    if not python or subprocess.call([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]):
        pytest.skip(f"other users can't reach {sys.executable}, and the system has no Python 3.11")
    done = subprocess.run(
        [python, "-c", code],
        env={"PYTHONPATH": root, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("3 "), done.stderr
    assert "Read-only file system" in done.stdout
