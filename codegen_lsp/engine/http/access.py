"""Decide who may use the engine, and as whom.

A unix socket belongs to one user, so a program that can connect to it may do everything. Over TCP every caller needs a
token, is limited, shares no cached prompts with other callers, and can't stop the engine of a team.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from codegen_lsp.engine.http.listeners import Address
from codegen_lsp.engine.http.team.users import User, Users
from codegen_lsp.wire.errors import RequestError, UnauthorizedError, WireError

ADMIN_PATHS = frozenset({"/shutdown", "/unload"})
"""Routes that change the engine for everybody who uses it."""

OPEN_PATHS = frozenset({"/health", "/ready"})
"""Routes that answer without a token."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request."""

    name: str = ""
    """The same for all requests with one token from one address; empty on the user's own unix socket."""
    trusted: bool = False
    """Whether the caller has shown a token, or needs none."""
    admin: bool = False
    user: User | None = None
    """The holder of the token, if the token is one of the engine's."""

    @property
    def label(self) -> str:
        """The name in the audit log: neither a token nor an address."""
        return (
            self.user.name
            if self.user
            else "administrator"
            if self.admin
            else "local"
            if self.local
            else "stranger"
        )

    @property
    def local(self) -> bool:
        """Whether the caller connected through the user's own unix socket."""
        return not self.name

    def namespace(self, salt: str | None) -> str:
        """Return the part of the prefix cache that this caller shares; a `salt` makes it the same for all addresses."""
        if self.local:
            return ""
        scope = self.name if salt is None else f"{self.name.partition('@')[0]} {salt}"
        return hashlib.sha256(scope.encode("utf-8", "surrogatepass")).hexdigest()


class Access:
    """The rules of one address."""

    def __init__(self, address: Address) -> None:
        self.local = address.path is not None
        self.users = Users([address.token] if address.token else [], address.users_file)
        self.admin_token = address.admin_token
        self.anyone_administers = address.is_loopback and self.admin_token is None
        self.hosts = LOOPBACK_NAMES | {address.host} if address.is_loopback and not self.local else None

    def caller(self, headers: Mapping[bytes, bytes], peer: str | None) -> Caller:
        """Return the sender of a request with these headers from the address `peer`."""
        token = _bearer(headers.get(b"authorization", b"").decode("latin-1"))
        admin = self.admin_token is not None and _same(token, self.admin_token)
        user = self.users.find(token)
        trusted = admin or (user is not None and not user.is_expired) or not self.users
        name = "" if self.local else f"{hashlib.sha256(token.encode()).hexdigest()[:16]}@{network_of(peer)}"
        return Caller(name, trusted, admin or (trusted and self.anyone_administers), user)

    def refusal(self, path: str, headers: Mapping[bytes, bytes], caller: Caller) -> WireError | None:
        """Return why a request is refused, or None."""
        if self.hosts is not None and (error := self._foreign_page(headers)):
            return error
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        if encoding != "identity":
            message = f"'Content-Encoding: {encoding[:40]}' is not supported; send the body uncompressed"
            return _with_status(RequestError(message, param="Content-Encoding", code="unsupported"), 415)
        if path not in OPEN_PATHS and not caller.trusted:
            if caller.user is not None:
                message = (
                    f"the token of {caller.user.name} has expired; ask the engine's operator for a new one"
                )
                return UnauthorizedError(message, code="token-expired")
            return UnauthorizedError("the bearer token is missing or wrong")
        if path in ADMIN_PATHS and not caller.admin:
            message = f"{path} requires the administrator's token (serve --admin-token)"
            return _with_status(RequestError(message, code="forbidden"), 403)
        return None

    def _foreign_page(self, headers: Mapping[bytes, bytes]) -> WireError | None:
        """Return an error for requests that a web page in the user's browser may have sent.

        A page of any site can name this address as its own (DNS rebinding), or send requests across origins.
        """
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if _without_port(host).lower() not in (self.hosts or ()):
            return _with_status(RequestError(f"unexpected Host {host[:100]!r}", code="forbidden"), 403)
        if origin and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return _with_status(
                RequestError(f"requests from {origin[:100]!r} are not allowed", code="forbidden"), 403
            )
        return None


def _with_status(error: RequestError, status: int) -> RequestError:
    error.status = status
    return error


def _bearer(header: str) -> str:
    """Return the token in an `Authorization` header, or an empty string."""
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _same(token: str, expected: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def _without_port(host: str) -> str:
    """Return a host without its port: `[::1]` for `[::1]:80`."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and (not name.count(":") or name.endswith("]")) else host


def network_of(peer: str | None) -> str:
    """Return the address of a peer; for IPv6 its /64 network, all of which a single machine can have."""
    try:
        address = ipaddress.ip_address((peer or "").partition("%")[0])
    except ValueError:
        return "?"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
