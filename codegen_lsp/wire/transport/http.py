"""HTTP for engine clients: addresses, the httpx client, and its errors as this project's.

httpx is imported with the first client that is made, as the
import takes a quarter of a second.
"""

from __future__ import annotations

import ipaddress
import re
import socket as socket_module
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from codegen_lsp.wire.errors import (
    ConfigError,
    ConnectionLostError,
    TimedOutError,
    UnavailableError,
)

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 2.0


def server_address(text: str) -> str:
    """Return a server's address as clients use it: lower-case scheme, no `/v1`, no slash at the end.

    Raises:
        ConfigError: it is not an address of HTTP.
    """
    problem = "expected an address such as http://localhost:8000"
    address = text.strip()
    if not re.fullmatch(r"[!-~]+", address):
        raise ConfigError(f"{problem}, in ASCII and without spaces")
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{problem} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(problem)
    if parts.query or parts.fragment:
        raise ConfigError(f"{problem}, without '?' and '#'")
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1").rstrip("/")).geturl()


MAX_ADDRESSES = 16


def server_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses in a text, separated by commas or spaces, as clients use them; the first is tried first.

    Raises:
        ConfigError: one of them is not an address of HTTP, there is none, or there are too many.
    """
    addresses = tuple(dict.fromkeys(map(server_address, text.replace(",", " ").split() or [""])))
    if len(addresses) > MAX_ADDRESSES:
        raise ConfigError(f"expected at most {MAX_ADDRESSES} addresses")
    return addresses


def without_password(address: str) -> str:
    """Return an address for messages and logs: without the name and the password that it may hold."""
    parts = _split(address)
    if parts is None or "@" not in parts.netloc:
        return address
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def is_loopback(address: str) -> bool:
    """Return whether an address can only be this machine."""
    parts = _split(address)
    host = (parts.hostname if parts else None) or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(address: str) -> SplitResult | None:
    try:
        return urlsplit(address)
    except ValueError:
        return None


def bearer_header(token: str) -> dict[str, str]:
    """Return the header that carries a token, empty without one.

    Raises:
        ConfigError: HTTP can't carry the token.
    """
    if not token:
        return {}
    if not re.fullmatch(r"[!-~]+", token):
        raise ConfigError("the token holds characters other than visible ASCII, which HTTP can't carry")
    return {"Authorization": f"Bearer {token}"}


def make_client(*, socket: Path | None, url: str, token: str, timeout: float) -> httpx.AsyncClient:
    """Return an HTTP client for a unix socket or, without one, for an address.

    The environment (proxies, certificates, key logs) applies to other machines alone: a unix socket and the loopback
    interface need none of it, and it may be stale. Redirects are not followed, see `refuse_redirect`.

    Raises:
        ConfigError: the address or the token can't be used.
        UnavailableError: the client can't be made in this environment.
    """
    import httpx

    from codegen_lsp.wire.transport.unix import UnixTransport

    headers = bearer_header(token) | {"Accept-Encoding": "identity"}
    base = "http://engine" if socket else server_address(url)
    foreign = not socket and not is_loopback(base)
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=30)
    verify = base.startswith("https:")
    try:
        return httpx.AsyncClient(
            base_url=base,
            transport=UnixTransport(socket) if socket else None,
            trust_env=foreign,
            verify=verify,
            limits=limits,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        )
    except (
        Exception
    ) as error:  # Wrong proxies, missing certificates, missing SOCKS support: each raises its own type.
        raise UnavailableError(
            f"no HTTP client for {without_password(base)} can be made ({_reason(error)}); check the environment's "
            "ALL_PROXY, HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE"
        ) from error


def socket_client(socket: Path, timeout: float | None) -> httpx.Client:
    """Return a synchronous client for a unix socket, which needs nothing from the environment."""
    import httpx

    transport = httpx.HTTPTransport(uds=str(socket), verify=False, trust_env=False)
    return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout, trust_env=False)


def listens(socket: Path) -> bool:
    """Return whether a process takes connections through a unix socket.

    Ask before the first request to a socket that a dead process may have left behind: httpx leaks the connection's
    file if it can't connect.
    """
    with socket_module.socket(socket_module.AF_UNIX, socket_module.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(str(socket))
        except OSError:
            return False
        return True


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def mapped_errors(address: str) -> Iterator[None]:
    """Turn every error of httpx into a `WireError` that names the address."""
    import httpx

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        if problem := _certificate_problem(error):
            raise UnavailableError(f"{address} is not trusted: {problem}; see SSL_CERT_FILE") from error
        raise UnavailableError(f"no engine answers at {address}") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
        raise UnavailableError(f"the address {address} can't be used ({_reason(error)})") from error
    except httpx.TimeoutException as error:
        raise TimedOutError(f"the engine at {address} did not answer in time") from error
    except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
        raise ConnectionLostError(f"the connection to {address} broke") from error


def _certificate_problem(error: BaseException | None) -> str:
    """Return what is wrong with a server's certificate, or with its TLS; empty if the error has another cause."""
    import ssl

    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message or "its certificate can't be verified"
        if isinstance(error, ssl.SSLError):
            return f"it does not speak TLS as expected ({error.reason})"
        error = error.__cause__ or error.__context__
    return ""


def refuse_redirect(response: httpx.Response, address: str) -> None:
    """Name a redirect instead of following it: the text and the token are meant for this address.

    Raises:
        UnavailableError: the answer is a redirect.
    """
    if 300 <= response.status_code < 400:
        target = without_password(response.headers.get("location", "").strip())
        where = re.sub(r"[^!-~]", "?", target)[:200] or "another address"
        raise UnavailableError(
            f"{address} redirects to {where}; use the final address, redirects are not followed"
        )
