"""The tokens the stand-in gave out, and the rules by which it gives one."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

SCOPES = frozenset({"service:psapi", "service:leagues", "service:cxapi"})
_TOKENS_MAX = 1000


class Refused(Exception):
    """A request the endpoint refuses, with RFC 6749's error code and the status it goes with."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status


class Tokens:
    """The tokens given out, at most a thousand, and to whom; the oldest go first."""

    def __init__(self, seed: int, client_id: str, client_secret: str) -> None:
        self._seed = seed
        self._client = (client_id, client_secret)
        self._scopes: OrderedDict[str, frozenset[str]] = OrderedDict()
        self.issued = 0

    @property
    def valid(self) -> int:
        """How many tokens are good."""
        return len(self._scopes)

    def issue(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> dict[str, object]:
        """The reply to a token request; Refused where there is none to give."""
        self.check_client(form, basic)
        if not form.get("grant_type"):
            raise Refused("invalid_request", "The request is missing the parameter grant_type.")
        if form["grant_type"] != "client_credentials":
            raise Refused("unsupported_grant_type", "The authorization grant type is not supported.")
        scopes = form.get("scope", "").split()
        if not scopes or not SCOPES.issuperset(scopes):
            raise Refused("invalid_scope", "The requested scope is invalid, unknown, or malformed.")
        self.issued += 1
        text = f"{self._seed}/{self.issued}/{self._client[0]}"
        token = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - forty hex digits, no secret
        self._scopes[token] = frozenset(scopes)
        while len(self._scopes) > _TOKENS_MAX:
            self._scopes.popitem(last=False)
        return {
            "access_token": token,
            "expires_in": None,
            "token_type": "bearer",
            "username": "StandIn#0001",
            "sub": "c0ffee00-0000-4000-8000-000000000001",
            "scope": " ".join(scopes),
        }

    def check_client(self, form: Mapping[str, str], basic: tuple[str, str] | None) -> None:
        """Refused unless the client is the one known."""
        if (basic or (form.get("client_id"), form.get("client_secret"))) != self._client:
            raise Refused("invalid_client", "The client credentials are invalid.", 401)

    def revoke(self, token: str) -> None:
        """End one token; nothing happens where it is none."""
        self._scopes.pop(token, None)

    def invalidate(self) -> None:
        """End them all."""
        self._scopes.clear()

    def scopes(self, authorization: str) -> frozenset[str] | None:
        """What the bearer of an ``Authorization`` header may do; None where its token is no good."""
        scheme, _, token = authorization.partition(" ")
        return self._scopes.get(token.strip()) if scheme.lower() == "bearer" else None
