"""An engine that a team shares over the network: what one user can learn of another, and do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.served import Served, serving, serving_network

from codegen_lsp.engine.http.access import Access, Caller
from codegen_lsp.engine.http.listeners import Address

pytestmark = pytest.mark.e2e

ANN, BOB, ADMIN = "token-of-ann", "token-of-bob", "token-of-the-administrator"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    runtime = tmp_path_factory.mktemp("team")
    tokens = runtime / "tokens"
    tokens.write_text(f"# one per user\n{ANN}\n{BOB}\n")
    tokens.chmod(0o600)
    options = ("--token-file", str(tokens), "--admin-token", ADMIN, "--max-waiting", "8")
    with serving_network(runtime, *options, token=ANN) as served:
        yield served


def as_user(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cached(team: Served, prompt: str, token: str, **fields: Any) -> int:
    """The tokens of a prompt that a user finds in the prefix cache."""
    body = {"prompt": prompt, "max_tokens": 0, **fields}
    response = team.client.post("/v1/completions", json=body, headers=as_user(token))
    assert response.status_code == 200, response.text
    return int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_health_tells_a_stranger_only_that_it_lives(team: Served) -> None:
    assert httpx.get(f"{team.client.base_url}/health").json() == {"status": "alive"}
    assert team.health()["model"] == "nano"


def test_what_one_user_has_cached_is_not_seen_by_another(team: Served) -> None:
    secret = 'KEY = "sk-4f9a-0b7c-22d1"\nprint(KEY)\n'
    assert cached(team, secret, ANN) == 0
    assert cached(team, secret, ANN) > 5
    assert cached(team, secret, BOB) == 0
    assert cached(team, secret, ANN, cache_salt="laptop") == 0
    assert cached(team, secret, ANN, cache_salt="laptop") > 5
    assert cached(team, secret, BOB, cache_salt="laptop") == 0


def test_embeddings_share_nothing_either(team: Served) -> None:
    text = "def secret_function_of_ann(a, b, c):\n"
    team.client.post("/v1/embeddings", json={"input": text}).raise_for_status()
    assert cached(team, text, BOB) == 0
    assert cached(team, text, ANN) > 5


@pytest.mark.parametrize("path", ["/unload", "/shutdown"])
def test_only_the_administrator_can_take_the_model_away(team: Served, path: str) -> None:
    for token, status in ((ANN, 403), ("wrong", 401)):
        assert team.client.post(path, headers=as_user(token)).status_code == status
    assert "--admin-token" in team.client.post(path).json()["error"]["message"]
    assert team.health()["status"] == "ready"


def test_the_administrator_unloads(team: Served) -> None:
    assert team.client.post("/unload", headers=as_user(ADMIN)).status_code == 202
    team.wait("unloaded")
    assert team.client.post("/v1/completions", json={"prompt": "x"}).status_code == 503
    team.wait("ready")


def test_a_user_who_floods_is_refused_and_another_is_not(team: Served) -> None:
    url = str(team.client.base_url)

    async def flood() -> tuple[list[int], list[int]]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:

            async def ask(token: str, tokens: int) -> int:
                body = {"prompt": "x = ", "max_tokens": tokens, "priority": -100, "n": 2}
                return (await client.post("/v1/completions", json=body, headers=as_user(token))).status_code

            floods = [asyncio.create_task(ask(ANN, 150)) for _ in range(30)]
            await asyncio.wait(floods, return_when=asyncio.FIRST_COMPLETED)
            others = await asyncio.gather(*(ask(BOB, 2) for _ in range(2)))
            return await asyncio.gather(*floods), others

    ann, bob = asyncio.run(flood())
    assert bob == [200, 200]
    assert set(ann) == {200, 429}
    assert ann.count(200) <= 8


def test_the_tokens_of_the_environment_are_for_the_network_alone(tmp_path: Path) -> None:
    """And the engine runs without docstrings and assertions."""
    env = {"CODEGEN_LSP_TOKEN": "exported", "CODEGEN_LSP_ADMIN_TOKEN": "exported", "PYTHONOPTIMIZE": "2"}
    with serving(tmp_path, env=env) as engine:
        assert engine.health()["model"] == "nano"
        assert engine.complete(max_tokens=2)["choices"]
        assert engine.client.post("/unload").status_code == 202


def caller(access: Access, peer: str, token: str = ANN) -> Caller:
    return access.caller({b"authorization": f"Bearer {token}".encode()}, peer)


def test_callers_are_told_apart_by_token_and_network(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(BOB)
    tokens.chmod(0o600)
    access = Access(Address(host="::", token=ANN, users_file=tokens))
    names = [
        caller(access, peer).name for peer in ("10.0.0.1", "10.0.0.2", "2001:db8:1:1::1", "2001:db8:1:1::2")
    ]
    assert len(set(names)) == 3, "one machine has a whole /64 of addresses"
    assert caller(access, "10.0.0.1", BOB).name not in names
    assert not any(caller(access, "10.0.0.1", token).admin for token in (ANN, BOB))
    assert caller(Access(Address(host="127.0.0.1", token=ANN)), "127.0.0.1").admin
    spaces = {caller(access, peer).namespace("salt") for peer in ("10.0.0.1", "10.0.0.2")}
    assert len(spaces) == 1
