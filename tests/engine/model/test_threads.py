"""A step takes the number of threads that was faster lately."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from codegen_lsp.engine.model.compiled.threads import LONGEST, TRIAL, ThreadChoice
from codegen_lsp.engine.quantized import team


def steps(choice: ThreadChoice, count: int, seconds: Callable[[int], float]) -> list[int]:
    """The numbers of threads of some steps, each of which takes the seconds of its number."""
    chosen = []
    for _ in range(count):
        chosen.append(choice.of(3))
        choice.add(3, chosen[-1], seconds(chosen[-1]))
    return chosen


def test_two_threads_while_two_cores_are_free() -> None:
    choice = ThreadChoice((1, 2))
    chosen = steps(choice, 100, lambda threads: 2.0 / threads)
    assert choice.most == 2
    assert median(chosen) == 2
    assert chosen.count(1) < 100 / TRIAL + 6


def test_one_thread_while_another_program_has_a_core() -> None:
    choice = ThreadChoice((1, 2))
    steps(choice, 40, lambda threads: 2.0 / threads)
    busy = steps(choice, 2000, lambda threads: 10.0 if threads == 2 else 2.0)
    assert busy.count(2) < 15
    free = steps(choice, LONGEST + TRIAL, lambda threads: 2.0 / threads)
    assert median(free[-TRIAL:]) == 2
    assert free.count(2) >= TRIAL // 2


def test_steps_beside_which_answers_are_sent_have_times_of_their_own() -> None:
    choice = ThreadChoice((1, 2))
    chosen: dict[bool, list[int]] = {True: [], False: []}
    for step in range(100):
        is_busy = step % 3 == 0
        threads = choice.of(3, is_busy=is_busy)
        choice.add(3, threads, 10.0 if is_busy and threads == 2 else 2.0 / threads, is_busy=is_busy)
        chosen[is_busy].append(threads)
    assert median(chosen[True]) == 1
    assert median(chosen[False]) == 2


def test_steps_of_other_sizes_have_times_of_their_own() -> None:
    choice = ThreadChoice((1, 2))
    steps(choice, 20, lambda threads: 2.0 / threads)
    assert choice.of(1) == 1


def test_as_many_as_torch_takes_without_a_choice() -> None:
    choice = ThreadChoice()
    assert choice.most == choice.of(1) == team.thread_count()
