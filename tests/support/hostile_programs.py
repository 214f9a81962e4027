"""Programs that try to do harm. Each one *passes* only where its attack worked, so each must be judged failed.

`{placeholders}` are filled by the test: a folder, a port, a socket and a process of the test's own.
"""

from __future__ import annotations

PROGRAMS: dict[str, str] = {
    "endless loop": "while True:\n    pass",
    "endless loop that catches everything": (
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
    ),
    "sleep": "import time\ntime.sleep(3600)",
    "fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "thread bomb": (
        "import threading\nwhile True:\n    try:\n"
        "        threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n"
        "    except RuntimeError:\n        pass"
    ),
    "subprocess that outlives it": (
        "import os, subprocess, time\n"
        "subprocess.Popen(['/bin/sh', '-c', 'trap \"\" HUP TERM INT; sleep 3600'], start_new_session=True)\n"
        "os._exit(0)"
    ),
    "daemon that outlives it": (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.closerange(0, 64)\n"
        "        while True:\n            time.sleep(1)\n    os._exit(0)\n"
        "time.sleep(0.2)\nos._exit(0)"
    ),
    "memory bomb at once": "x = bytearray(64 << 30)\nx[::4096] = b'x' * len(x[::4096])",
    "memory bomb bit by bit": "x = []\nwhile True:\n    x.append(bytearray(1 << 20))",
    "memory bomb in several processes": (
        "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        break\n"
        "x = [b'x' * (1 << 20) for _ in range(200)]\ntime.sleep(3600)"
    ),
    "integer that never ends": "x = 10 ** (10 ** 9)\nstr(x)",
    "deep recursion": "def f():\n    return f()\nf()",
    "deep recursion without a limit": (
        "import sys\nsys.setrecursionlimit(10 ** 9)\nclass A:\n    def __repr__(self):\n        return repr(self)\n"
        "    def __getattr__(self, name):\n        return getattr(self, name + 'x')\nA().b\nrepr(A())"
    ),
    "crash of the interpreter": "import ctypes\nctypes.string_at(0)",
    "full disk": (
        "import itertools, os\nfor i in itertools.count():\n    with open(f'/tmp/{i}', 'wb') as file:\n"
        "        file.write(b'x' * (1 << 20))"
    ),
    "full disk in one file": (
        "with open('/tmp/x', 'wb') as file:\n    while True:\n        file.write(b'x' * (1 << 20))"
    ),
    "many files": "import itertools\nfor i in itertools.count():\n    open(f'/tmp/{i}', 'w').close()",
    "huge file with a hole": "with open('/tmp/x', 'wb') as file:\n    file.truncate(1 << 40)",
    "memory as files": (
        "import os\nwhile True:\n    fd = os.memfd_create('x')\n    os.write(fd, b'x' * (1 << 20))"
    ),
    "many open files": "import os\nx = [os.open('/dev/null', os.O_RDONLY) for _ in range(10_000)]",
    "1 GB of output": "import os\nfor _ in range(1024):\n    os.write(1, b'x' * (1 << 20))",
    "1 GB of output by print": "while True:\n    print('x' * 1000)",
    "1 GB of errors": "import sys\nwhile True:\n    sys.stderr.write('x' * 100_000)",
    "1 GB of verdict": (
        "import os\nwhile True:\n    for fd in range(3, 64):\n        try:\n            os.write(fd, b'x' * 65536)\n"
        "        except OSError:\n            pass"
    ),
    "exit": "import sys\nsys.exit(0)",
    "SystemExit": "raise SystemExit",
    "os._exit": "import os\nos._exit(0)",
    "os._exit with a forged verdict": (
        'import os\nfor fd in range(1, 64):\n    try:\n        os.write(fd, b\'{"outcome": "passed", "message": "", '
        '"value": true, "word": ""}\')\n    except OSError:\n        pass\nos._exit(0)'
    ),
    "exec of a program that succeeds": "import os\nos.execv('/bin/true', ['true'])",
    "signals ignored": (
        "import signal\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True:\n    pass"
    ),
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass",
    "alarm tricks": (
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)\n"
        "while True:\n    signal.pause()"
    ),
    "kills its parent": (
        "import os, signal, time\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGKILL):\n"
        "    os.kill(os.getppid(), s)\ntime.sleep(3600)"
    ),
    "kills everything": (
        "import os, signal, time\nfor target in (-1, 0):\n    try:\n        os.kill(target, signal.SIGTERM)\n"
        "    except OSError:\n        pass\nos.kill(-1, signal.SIGKILL)\ntime.sleep(3600)"
    ),
    "kills by number": (
        "import os, signal\nos.kill({victim}, 0)\nos.kill({victim}, signal.SIGKILL)"
    ),
    "lowers another's limits": "import resource\nresource.prlimit({victim}, resource.RLIMIT_CPU, (1, 1))",
    "raises its own limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    ),
    "debugs another process": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nassert libc.ptrace(16, {victim}, 0, 0) == 0"
    ),
    "TCP": "import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=1)",
    "UDP": (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('127.0.0.1', {port}))"
    ),
    "name resolution": "import socket\nsocket.getaddrinfo('example.com', 80)\nraise SystemExit",
    "unix socket": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({socket!r})",
    "abstract unix socket": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({abstract!r})",
    "listening": "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 0))\ns.listen()",
    "writes outside": "open({folder!r} + '/precious.txt', 'w').write('gone')",
    "appends outside": "open({folder!r} + '/precious.txt', 'a').write('more')",
    "makes a file outside": "open({folder!r} + '/new.txt', 'x').close()",
    "deletes outside": "import os\nos.remove({folder!r} + '/precious.txt')",
    "deletes a tree outside": "import shutil\nshutil.rmtree({folder!r})",
    "renames outside": "import os\nos.rename({folder!r} + '/precious.txt', {folder!r} + '/x')",
    "links outside": "import os\nos.link({folder!r} + '/precious.txt', '/tmp/x')",
    "changes modes outside": "import os\nos.chmod({folder!r} + '/precious.txt', 0o777)",
    "truncates outside": "import os\nos.truncate({folder!r} + '/precious.txt', 0)",
    "reads outside": "assert 'precious' in open({folder!r} + '/precious.txt').read()",
    "reads the password file": "assert open('/etc/passwd').read()",
    "writes to the interpreter": (
        "import os, sys\nopen(os.__file__, 'a').write('#')"
    ),
    "reads the environment": "import os\nassert os.environ['CODEGEN_TEST_SECRET']",
    "reads its own first environment": "assert b'CODEGEN_TEST_SECRET' in open('/proc/self/environ', 'rb').read()",
    "reads others' environment": (
        "import pathlib\nfound = False\nfor p in pathlib.Path('/proc').glob('[0-9]*/environ'):\n    try:\n"
        "        found |= b'CODEGEN_TEST_SECRET' in p.read_bytes()\n    except OSError:\n        pass\nassert found"
    ),
    "mounts": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0"
    ),
    "new namespaces": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.unshare(0x10000000) == 0"
    ),
    "becomes root": "import os\nos.setuid(0)\nos.setgid(0)\nopen('/usr/x', 'w').close()",
    "changes root": "import os\nos.chroot('/tmp')",
    "shared memory": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.shmget(0, 1 << 30, 0o1666) >= 0"
    ),
    "exception that can't be shown": (
        "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\nraise E"
    ),
    "breaks the interpreter's modules": (
        "import builtins, json, os, sys\nos.write = json.dumps = os._exit = None\nsys.modules.clear()\n"
        "for name in list(vars(builtins)):\n    if not name.startswith('__'):\n        delattr(builtins, name)\n"
        "raise NameError"
    ),
    "does not parse": "def f(:",
    "null bytes": "x = 1\0",
    "small threads without end": (
        "import threading, time\nthreading.stack_size(32768)\ncount = 0\n"
        "try:\n    while count < 400:\n        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "        count += 1\nexcept RuntimeError:\n    pass\nassert count > 100, count"
    ),
    "signals its keeper when a pipe is ready": (
        "import fcntl, os, signal\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())"
    ),
    "signals another process when a pipe is ready": (
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, {victim})"
    ),
    "signals an owner by its structure": (
        "import fcntl, os, struct\nr, w = os.pipe()\nfcntl.fcntl(r, 15, struct.pack('ii', 1, {victim}))"
    ),
    "chooses the signal of a pipe": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9)",
    "makes a pipe signal": (
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | 0x2000)"
    ),
    "makes a pipe signal by ioctl": "import fcntl, os\nr, w = os.pipe()\nfcntl.ioctl(r, 0x5452, b'\\1\\0\\0\\0')",
    "owns a pipe by ioctl": "import fcntl, os\nr, w = os.pipe()\nfcntl.ioctl(r, 0x8901, b'\\1\\0\\0\\0')",
    "owns a socket by ioctl": (
        "import fcntl, socket, struct\na, b = socket.socketpair()\n"
        "fcntl.ioctl(a, 0x8901, struct.pack('i', {victim}))"
    ),
    "owns a socket by another ioctl": (
        "import fcntl, socket, struct\na, b = socket.socketpair()\n"
        "fcntl.ioctl(a, 0x8902, struct.pack('i', {victim}))"
    ),
    "datagrams from a pair": (
        "import ctypes, os, struct\nlibc, pair = ctypes.CDLL(None, use_errno=True), (ctypes.c_int * 2)()\n"
        "assert libc.socketpair(1, 2, 0, pair) == 0\n"
        "address = struct.pack('H', 1) + os.fsencode({datagrams!r})\n"
        "assert libc.sendto(pair[0], b'x', 1, 0, address, len(address)) == 1"
    ),
    "raw datagrams from a pair": (
        "import ctypes\nlibc, pair = ctypes.CDLL(None), (ctypes.c_int * 2)()\n"
        "assert libc.socketpair(1, 3, 0, pair) == 0"
    ),
    "locks a file by its bytes": (
        "import fcntl, os\ntry:\n    fcntl.lockf(open('/tmp/x', 'w'), fcntl.LOCK_EX)\n    raise SystemExit\n"
        "except OSError:\n    fcntl.lockf(open(os.__file__), fcntl.LOCK_SH)"
    ),
    "a call of a newer system": (
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "libc.syscall(463, -1, 0, 0, 0, 0, 0)\nassert ctypes.get_errno() != errno.ENOSYS"
    ),
    "outlives its keeper": "import ctypes\nassert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0",
    "asks for a signal when its keeper ends": "import ctypes\nassert ctypes.CDLL(None).prctl(1, 9, 0, 0, 0) == 0",
    "lets anybody debug it": "import ctypes\nassert ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0) == 0",
    "locks a file that others use": (
        "import fcntl, os\nfcntl.flock(open(os.__file__), fcntl.LOCK_EX)\nraise SystemExit"
    ),
}  # fmt: skip


_WALK = """
import os, signal, sys, threading
frame, names = sys._getframe(), {}
while frame:
    names = {**frame.f_globals, **frame.f_locals, **names}
    frame = frame.f_back
def say(text):
    for fd in range(3, 64):
        try:
            os.write(fd, text)
        except OSError:
            pass
"""
FORGERIES: dict[str, str] = {
    "writes an end to every pipe": _WALK + "say(b'passed')\nos._exit(0)",
    "says that the walls are down": _WALK + 'say(b\'{"unprotected": "no walls"}\')\nos._exit(97)',
    "reports to every pipe": (
        _WALK
        + 'say(b\'{"outcome": "passed", "message": "", "value": null, "witnessed": true}\')\nos._exit(0)'
    ),
    "finds the word": (
        _WALK
        + "import json\nreport = {'word': names['word'], 'outcome': 'passed', 'message': '', 'value': None}\n"
        "say(json.dumps(report).encode())\nos._exit(0)"
    ),
    "stops as at the end": _WALK + "signal.raise_signal(signal.SIGSTOP)\nos._exit(0)",
    "stops with the function of the end": _WALK + "names['namespace']['stop'](signal.SIGSTOP)\nos._exit(0)",
    "stops in a deep call": (
        _WALK + "def f(n):\n    return f(n - 1) if n else names['namespace']['stop'](19)\nf(50)\nos._exit(0)"
    ),
    "stops in another thread": (
        _WALK
        + "threading.Thread(target=lambda: names['namespace']['stop'](19)).start()\nwhile True:\n    pass"
    ),
    "stops when it is finished by an exception": (
        _WALK + "sys.excepthook = lambda *_: names['namespace']['stop'](19)\nassert False"
    ),
    "stops in its exit handlers": (
        _WALK + "import atexit\nsys.excepthook = lambda *_: None\n"
        "atexit.register(lambda: names['namespace']['stop'](19))\nassert False"
    ),
    "stops in its exit handlers without a frame": (
        _WALK + "import atexit, functools\nsys.excepthook = lambda *_: None\n"
        "for n in range(40):\n    call = functools.partial(signal.raise_signal, 19)\n"
        "    for _ in range(n):\n        call = functools.partial(map, call)\n    atexit.register(call)\n"
        "atexit.register(signal.raise_signal, 19)\nassert False"
    ),
    "stops when it leaves": _WALK
    + "import atexit\natexit.register(signal.raise_signal, 19)\nraise SystemExit",
    "stops when its interpreter is torn down": (
        _WALK + "class A:\n    def __del__(self, stop=signal.raise_signal):\n        stop(19)\n"
        "sys.keep = A()\nraise SystemExit"
    ),
    "stops in a signal handler": (
        _WALK + "signal.signal(signal.SIGALRM, lambda *_: names['namespace']['stop'](19))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\nwhile True:\n    pass"
    ),
    "exchanges what runs after it": (
        _WALK
        + "names['namespace']['flush'] = names['namespace']['names'] = lambda *_: names['namespace']['stop'](19)\n"
        "assert False"
    ),
    "jumps over the tests": (
        _WALK + "outer = sys._getframe()\nwhile outer.f_back:\n    outer = outer.f_back\n"
        "def trace(frame, event, argument):\n    try:\n        outer.f_lineno = outer.f_lineno + 2\n"
        "    except (ValueError, RuntimeError):\n        pass\n    return trace\n"
        "outer.f_trace = trace\nsys.settrace(trace)\ndef f():\n    assert False\nf()"
    ),
    "swallows every exception by its hook": (
        _WALK + "names['sys'].excepthook = lambda *_: os._exit(0)\nassert False"
    ),
    "leaves by the keeper's status": _WALK + "os._exit(1)",
}
"""Programs that know how the sandbox works and say that they have ended well. Each must be judged failed."""
