"""PGPy as a correspondent: one request a line of JSON on standard input, one answer a line.

Bytes are base64. The program is kept running, because starting it costs more than its work.
"""

import base64
import json
import sys
import warnings

warnings.simplefilter("ignore")

import pgpy  # noqa: E402
from pgpy.constants import (  # noqa: E402
    CompressionAlgorithm,
    EllipticCurveOID,
    HashAlgorithm,
    KeyFlags,
    PubKeyAlgorithm,
    SymmetricKeyAlgorithm,
)


def blob(text):
    return base64.b64decode(text)


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else str(data).encode()).decode()


def key_of(text):
    return pgpy.PGPKey.from_blob(blob(text).decode())[0]


def version(_):
    from importlib.metadata import version as of

    return {"version": of("PGPy")}


def generate(request):
    key = pgpy.PGPKey.new(PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519)
    key.add_uid(
        pgpy.PGPUID.new("", email=request["user"]),
        usage={KeyFlags.Sign, KeyFlags.Certify},
        hashes=[HashAlgorithm.SHA512, HashAlgorithm.SHA256],
        ciphers=[SymmetricKeyAlgorithm.AES256],
        compression=[CompressionAlgorithm.ZLIB, CompressionAlgorithm.Uncompressed],
    )
    subkey = pgpy.PGPKey.new(PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519)
    key.add_subkey(subkey, usage={KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage})
    return {"secret": b64(key), "certificate": b64(key.pubkey)}


def encrypt(request):
    message = pgpy.PGPMessage.new(blob(request["data"]), format="b")
    if request["sign"]:
        message |= key_of(request["key"]).sign(message, hash=HashAlgorithm.SHA512)
    return {"out": b64(key_of(request["to"]).encrypt(message, cipher=SymmetricKeyAlgorithm.AES256))}


def sign(request):
    return {"out": b64(key_of(request["key"]).sign(blob(request["data"]), hash=HashAlgorithm.SHA512))}


def clearsign(request):
    message = pgpy.PGPMessage.new(blob(request["data"]).decode(), cleartext=True)
    message |= key_of(request["key"]).sign(message, hash=HashAlgorithm.SHA512)
    return {"out": b64(message)}


def decrypt(request):
    key = key_of(request["key"])
    opened = key.decrypt(pgpy.PGPMessage.from_blob(blob(request["data"]).decode()))
    data = opened.message
    if isinstance(data, str):
        data = data.encode()
    good = bool(opened.is_signed and key_of(request["from"]).verify(opened))
    return {"data": b64(bytes(data)), "good": good}


def verify(request):
    signature = pgpy.PGPSignature.from_blob(blob(request["signature"]).decode())
    return {"good": bool(key_of(request["from"]).verify(blob(request["data"]), signature))}


OPERATIONS = {f.__name__: f for f in (version, generate, encrypt, sign, clearsign, decrypt, verify)}

for line in sys.stdin:
    try:
        asked = json.loads(line)
        answer = OPERATIONS[asked["op"]](asked)
    except Exception as error:  # whatever it is, the test is told
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
