"""An issuer as we talk to it: its directory, our account there, orders, revocation. Blocks; for threads.

Facts: the library speaks the protocol (RFC 8555): signatures, nonces, a second try after a bad nonce. What it has no words for is said
here in its own means: Retry-After of refusals, the change of an account's key (section 7.3.5), `replaces` of an order (RFC 9773
section 5). An account is found again by its key alone (`onlyReturnExisting`), so its address need not survive.

Rules:
* The account's key is kept before the issuer hears of it, and a new one beside the old until the issuer has agreed.
* Who uses an issuer has agreed to its terms: it is named in the configuration, or documented as the default.
* Every request ends within `REQUEST_S`.

Not here: what an order goes through (`order.py`), what a refusal means to people (`trouble.py`).
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import vestibule
from vestibule.control.acme.store import Store, safe_name
from vestibule.control.acme.wanted import ZERO_SSL, Issuer

REQUEST_S = 30
# Bad nonces in a row. The library tries twice; an issuer under load may refuse more often.
NONCE_TRIES = 8
_LOCK_S = 120.0
_ZERO_SSL_EAB = "https://api.zerossl.com/acme/eab-credentials-email"


class RefusedError(Exception):
    """The issuer said no, or could not be reached. `kind` is the last part of the error's URN, or `unreachable`."""

    def __init__(self, kind: str, detail: str, retry_at: float = 0.0, identifiers: tuple[str, ...] = ()) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.retry_at = retry_at
        self.identifiers = identifiers


class Session:
    """Talks to one issuer with one account. Raises `RefusedError` wherever the issuer may refuse."""

    def __init__(self, issuer: Issuer, store: Store) -> None:
        from acme import client

        # It logs whole requests at debug level, for whoever asked the library for that.
        logging.getLogger("acme").propagate = False
        self.issuer = issuer
        self._store = store
        self._key_name = f"accounts/{safe_name((issuer.name, issuer.directory, issuer.email, issuer.eab_kid))}.json"
        self._net = client.ClientNetwork(
            verify_ssl=issuer.ca_file or True, user_agent=f"vestibule/{vestibule.__version__}", timeout=REQUEST_S
        )
        self._net.session.hooks["response"].append(self._note)
        self._retry_after = ""
        directory = self._try(lambda: client.ClientV2.get_directory(issuer.directory, self._net))
        self._client = client.ClientV2(directory, self._net)
        self.account_uri = ""

    # ------------------------------------------------------------ the account

    def open_account(self) -> None:
        """Have an account: the one that is kept, or a new one."""
        with self._store.lock(safe_name((self._key_name,)), _LOCK_S):
            kept = self._kept()
            if kept is None:
                kept = {"issuer": self.issuer.name, "directory": self.issuer.directory, "key_pem": _new_key_pem()}
                self._keep(kept)
            if kept.get("next_key_pem"):
                self._finish_key_change(kept)
            self._use_key(kept["key_pem"])
            if not kept.get("uri"):
                kept["uri"] = self._register()
                self._keep(kept)
            self._use_account(kept["uri"])

    def forget_account(self) -> None:
        """The issuer does not know it any more: the next `open_account` makes it anew, with the same key."""
        with self._store.lock(safe_name((self._key_name,)), _LOCK_S):
            kept = self._kept()
            if kept is not None:
                kept["uri"] = ""
                self._keep(kept)

    def change_key(self) -> None:
        """Give the account a new key (RFC 8555 section 7.3.5)."""
        with self._store.lock(safe_name((self._key_name,)), _LOCK_S):
            kept = self._kept()
            assert kept is not None  # the account is open
            # Whatever happens from here on, one of the two is right; `open_account` finds out which.
            kept["next_key_pem"] = kept.get("next_key_pem") or _new_key_pem()
            self._keep(kept)
            self._send_key_change(kept["next_key_pem"])
            self._settle_key(kept)

    def deactivate(self) -> None:
        """Close the account for good, and forget it."""
        self.post(self.account_uri, {"status": "deactivated"})
        self._store.delete(self._key_name)

    def _finish_key_change(self, kept: dict[str, Any]) -> None:
        """Find out which of two keys the issuer knows, after a change that was cut off."""
        self._use_key(kept["next_key_pem"])
        url = self._client.directory["newAccount"]
        try:
            self.post(url, {"onlyReturnExisting": True})
        except RefusedError as refused:
            if refused.kind != "accountDoesNotExist":
                raise
            # The issuer never heard of it. It is kept for the next change.
            return
        self._settle_key(kept)

    def _settle_key(self, kept: dict[str, Any]) -> None:
        kept["key_pem"] = kept.pop("next_key_pem")
        self._keep(kept)
        self._use_key(kept["key_pem"])
        if kept.get("uri"):
            self._use_account(kept["uri"])

    def _send_key_change(self, key_pem: str) -> None:
        from acme import jws
        from josepy import ES256

        url = self._client.directory["keyChange"]
        fresh = _jwk(key_pem)
        inner = json.dumps({"account": self.account_uri, "oldKey": self._net.key.public_key().to_json()}).encode()
        # The inner signature has the new key in its head, and no nonce (section 7.3.5).
        signed = jws.JWS.sign(inner, key=fresh, alg=ES256, nonce=None, url=url)
        self._try(lambda: self._client._post(url, _Verbatim(signed.json_dumps())))

    def _kept(self) -> dict[str, Any] | None:
        data = self._store.read(self._key_name)
        if data is None:
            return None
        try:
            kept = json.loads(data)
        except ValueError:
            return None
        return kept if isinstance(kept, dict) and isinstance(kept.get("key_pem"), str) else None

    def _keep(self, kept: dict[str, Any]) -> None:
        self._store.write(self._key_name, json.dumps(kept, indent=1).encode())

    def _use_key(self, key_pem: str) -> None:
        from josepy import ES256

        self._net.key = _jwk(key_pem)
        self._net.alg = ES256
        self._net.account = None

    def _use_account(self, uri: str) -> None:
        from acme import messages

        self.account_uri = uri
        self._net.account = messages.RegistrationResource(uri=uri, body=messages.Registration())

    def _register(self) -> str:
        from acme import messages

        body: dict[str, Any] = {"terms_of_service_agreed": True}
        if self.issuer.email:
            body["contact"] = (f"mailto:{self.issuer.email}",)
        kid, hmac_key = self.issuer.eab_kid, self.issuer.eab_key
        if not kid and self.issuer.directory == ZERO_SSL:
            kid, hmac_key = self._ask_zero_ssl()
        if kid:
            body["external_account_binding"] = self._try(
                lambda: messages.ExternalAccountBinding.from_data(self._net.key.public_key(), kid, hmac_key, self._client.directory)
            )
        url = self._client.directory["newAccount"]
        response = self._try(lambda: self._client._post(url, messages.NewRegistration(**body)))
        return str(response.headers["Location"])

    def _ask_zero_ssl(self) -> tuple[str, str]:
        """Return the external account that ZeroSSL makes of an address."""
        answer = self._try(lambda: self._net.session.post(_ZERO_SSL_EAB, data={"email": self.issuer.email}, timeout=REQUEST_S).json())
        if not isinstance(answer, dict) or not answer.get("success"):
            raise RefusedError("externalAccountRequired", f"ZeroSSL gives no account for `{self.issuer.email}`")
        return str(answer["eab_kid"]), str(answer["eab_hmac_key"])

    # ------------------------------------------------------------ requests

    def post(self, url: str, body: dict[str, Any] | None = None) -> Any:
        """Send a signed request, a GET without a body (section 6.3); return the library's response."""
        return self._try(lambda: self._client._post(url, None if body is None else _Verbatim(json.dumps(body))))

    def get_json(self, url: str) -> dict[str, Any]:
        """Return the object at an address."""
        found: dict[str, Any] = self.post(url).json()
        return found

    def new_order(self, names: tuple[str, ...], replaces: str = "") -> tuple[str, dict[str, Any]]:
        """Begin an order; return its address and what it says."""
        body: dict[str, Any] = {"identifiers": [identifier_of(name) for name in names]}
        if replaces and self.has("renewalInfo"):
            body["replaces"] = replaces
        response = self.post(self._client.directory["newOrder"], body)
        return str(response.headers["Location"]), response.json()

    def has(self, resource: str) -> bool:
        """Tell whether the issuer's directory has a resource."""
        try:
            self._client.directory[resource]
        except KeyError:
            return False
        return True

    def renewal_info(self, id: str) -> tuple[dict[str, Any], str]:
        """Return what the issuer suggests for a certificate, and its Retry-After (RFC 9773 section 4.1)."""
        base = str(self._client.directory["renewalInfo"]).rstrip("/")
        response = self._try(lambda: self._net.get(f"{base}/{id}"))
        return response.json(), response.headers.get("Retry-After", "")

    def revoke(self, leaf: Any, reason: int) -> None:
        """Revoke a certificate."""
        self._try(lambda: self._client.revoke(leaf, reason))

    def thumbprint_key(self) -> Any:
        """Return the account's key, as the library has it, from which proofs are made."""
        return self._net.key

    def close(self) -> None:
        """End the connections."""
        self._net.session.close()

    def _note(self, response: Any, *_args: object, **_kwargs: object) -> None:
        self._retry_after = response.headers.get("Retry-After", "")

    def _try(self, ask: Any) -> Any:
        """Ask, again after a bad nonce; turn whatever goes wrong into `RefusedError`."""
        import requests
        from acme import errors, messages

        for left in reversed(range(NONCE_TRIES)):
            self._retry_after = ""
            try:
                return ask()
            except messages.Error as bad:
                if bad.code == "badNonce" and left:
                    continue
                raise refusal_of(bad, self._retry_after) from None
            except errors.NonceError as bad:
                raise RefusedError("serverInternal", f"no nonce: {bad}") from None
            except (errors.Error, ValueError, KeyError) as bad:
                said = f"an answer that is not understood: {str(bad)[:200]}"
                raise RefusedError("malformed", said, retry_time(self._retry_after)) from None
            except requests.exceptions.SSLError as bad:
                raise RefusedError("untrusted", str(bad)[:300]) from None
            except requests.exceptions.RequestException as bad:
                raise RefusedError("unreachable", str(bad)[:300]) from None
        raise AssertionError  # the last turn returns or raises


class _Verbatim:
    """A body that is JSON already, as the library wants bodies: with a `json_dumps`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def json_dumps(self, **_options: object) -> str:
        return self._text


def identifier_of(name: str) -> dict[str, str]:
    """Return a name as orders have it (RFC 8555 section 7.1.3, RFC 8738 for addresses)."""
    is_address = ":" in name or name.replace(".", "").isdigit()
    return {"type": "ip" if is_address else "dns", "value": name}


def refusal_of(bad: Any, retry_after: str = "") -> RefusedError:
    """Turn a problem document, as the library has it, into our error; the first subproblem knows more than the whole."""
    kind = bad.code or str(bad.typ).rpartition(":")[2] or "unknown"
    identifiers: list[str] = []
    details = [str(bad.detail or "")]
    for each in bad.subproblems or ():
        if each.identifier is not None:
            identifiers.append(str(each.identifier.value))
        if each.detail:
            details.append(str(each.detail))
            if kind == "compound":
                kind = each.code or kind
    return RefusedError(kind, "; ".join(dict.fromkeys(each for each in details if each)), retry_time(retry_after), tuple(identifiers))


def problem_of(data: dict[str, Any]) -> RefusedError:
    """Turn a problem document (RFC 7807) into our error."""
    return RefusedError(str(data.get("type", "unknown")).rpartition(":")[2], str(data.get("detail", "")))


def retry_time(value: str) -> float:
    """Return the moment a Retry-After names (RFC 9110 section 10.2.3), in seconds since 1970; 0 if it names none."""
    from email.utils import parsedate_to_datetime

    if value.strip().isdigit():
        return datetime.now(UTC).timestamp() + min(int(value), 90 * 86_400)
    try:
        return parsedate_to_datetime(value).timestamp() if value else 0.0
    except ValueError:
        return 0.0


def _new_key_pem() -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    from vestibule.control.certs import pem_of_key

    return pem_of_key(ec.generate_private_key(ec.SECP256R1()))


def _jwk(key_pem: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from josepy import JWKEC

    return JWKEC(key=load_pem_private_key(key_pem.encode(), None))
