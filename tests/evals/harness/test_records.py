"""Logs that lose nothing, and folders that know whose they are."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codegen_lsp.evals.harness.records import DataError, EvaluationError, Folder, Log, read_lines


def test_log_reads_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = Log(path)
    log.append({"text": "é\n\u2028😀", "n": 1}, {"n": 2})
    log.close()
    again = Log(path)
    assert again.records == [{"text": "é\n\u2028😀", "n": 1}, {"n": 2}]
    again.close()


def test_lone_surrogates_do_not_end_an_evaluation(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.jsonl")
    log.append({"text": "\ud83d"})
    log.close()
    again = Log(tmp_path / "a.jsonl")
    assert again.records == [{"text": "\ud83d"}]
    again.close()


@pytest.mark.parametrize("torn", [b'{"n": 3', b'{"n": 3}', b"\xff\x00", b"{"])
def test_half_a_line_at_the_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n' + torn)
    log = Log(path)
    assert [r["n"] for r in log.records] == [1, 2]
    log.append({"n": 3})
    log.close()
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n{"n": 3}\n'


def test_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\nnot json\n{"n": 2}\n')
    with pytest.raises(DataError, match="line 2 of"):
        Log(path)


def test_folder_refuses_other_settings_and_a_second_process(tmp_path: Path) -> None:
    settings = {"model": "nano", "temperatures": (0.2,)}
    first = Folder(tmp_path / "out", settings)
    with pytest.raises(EvaluationError, match="another evaluation is writing"):
        Folder(tmp_path / "out", settings)
    first.close()
    Folder(tmp_path / "out", settings).close()
    with pytest.raises(EvaluationError, match="model 'nano' and now '2B-mono'"):
        Folder(tmp_path / "out", {"model": "2B-mono", "temperatures": (0.2,)})


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EvaluationError, match="choose another --out"):
        Folder(tmp_path / "file" / "out", {})


def test_kill_loses_no_finished_line(tmp_path: Path) -> None:
    """A process is killed in the middle of appending; every line that it had reported as done is there."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom codegen_lsp.evals.harness.records import Log\n"
        "log = Log(Path(sys.argv[1]))\n"
        "for n in range(1_000_000):\n    log.append({'n': n, 'text': 'x' * 1000})\n    print(n, flush=True)\n"
    )
    root = str(Path(__file__).resolve().parents[3])
    path = tmp_path / "a.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    reported = process.communicate()[0].split()
    log = Log(path)
    assert [r["n"] for r in log.records][: int(reported[-1]) + 1] == list(range(int(reported[-1]) + 1))
    log.close()


def test_read_lines(tmp_path: Path) -> None:
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}\n'))
    assert list(read_lines(packed)) == [{"a": 1}, {"a": 2}]
    for content, message in ((b"[1]\n", "not a JSON object"), (b"{\n", "line 1"), (b"\xff\n", "can't read")):
        (tmp_path / "b.jsonl").write_bytes(content)
        with pytest.raises(DataError, match=message):
            list(read_lines(tmp_path / "b.jsonl"))
    with pytest.raises(DataError, match="No such file"):
        list(read_lines(tmp_path / "missing.jsonl"))
    (tmp_path / "c.jsonl.gz").write_bytes(packed.read_bytes()[:-4])
    with pytest.raises(DataError, match="can't read"):
        list(read_lines(tmp_path / "c.jsonl.gz"))
