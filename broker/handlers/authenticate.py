"""Authenticate (private, key 10000): prove knowledge of the cluster secret without sending it.

Version 0. Two requests on one connection, nothing else before them:
1. the peer sends its nonce; we answer ours and our proof, so that the peer knows us too;
2. the peer sends its proof over both nonces. From then on the connection may use every API.
A proof is good for one challenge: a wrong one ends the connection, a third step is a violation. Comparison is
constant-time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.handlers.reply import CloseConnection
from broker.protocol.api import ApiKey
from broker.protocol.private import AuthenticateRequest, AuthenticateResponse

API = ApiKey.AUTHENTICATE

NONCE_BYTES = 32
_CLIENT = b"ottla client"
_SERVER = b"ottla server"


def handle_private(request: Request, message: AuthenticateRequest, services: Services) -> AuthenticateResponse:
    connection = request.connection
    if connection.authenticated:
        raise CloseConnection("authenticate on an authenticated connection")
    if message.client_nonce and connection.session is None:
        if len(message.client_nonce) != NONCE_BYTES:
            raise CloseConnection("a client nonce of the wrong size")
        server_nonce = secrets.token_bytes(NONCE_BYTES)
        nonces = message.client_nonce + server_nonce
        connection.session = nonces
        return AuthenticateResponse(server_nonce=server_nonce, proof=_proof(services.cluster_secret, _SERVER, nonces))
    nonces, connection.session = connection.session, b""
    if not nonces or not hmac.compare_digest(message.proof, _proof(services.cluster_secret, _CLIENT, nonces)):
        raise CloseConnection("a wrong proof of the cluster secret")
    connection.authenticated = True
    return AuthenticateResponse(error_code=ErrorCode.NONE)


def _proof(secret: bytes, role: bytes, nonces: bytes) -> bytes:
    return hmac.new(secret, role + nonces, hashlib.sha256).digest()
