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
}  # fmt: skip
