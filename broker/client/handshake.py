"""The client's half of the internal listener's challenge–response.

Owns: the two proofs of ``protocol/private.py``, pure; the broker's handler computes the same two values. The secret itself is never sent; fresh nonces of both sides make a recorded handshake
worthless, and different labels keep one side's proof from being reflected as the other's.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

NONCE_BYTES = 32


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_BYTES)


def client_proof(secret: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    return hmac.digest(secret, b"ottla client" + client_nonce + server_nonce, hashlib.sha256)


def server_proof(secret: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    return hmac.digest(secret, b"ottla server" + client_nonce + server_nonce, hashlib.sha256)


def proof_matches(expected: bytes, given: bytes) -> bool:
    return hmac.compare_digest(expected, given)
