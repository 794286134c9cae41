"""One handshake and one request by a stock OpenSSL, and what was agreed on, as JSON on standard output.

usage: stock_client.py PORT SERVER_NAME CA_FILE [ALPN]
"""

import json
import socket
import sys

from OpenSSL import SSL

port, name, roots = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = SSL.Context(SSL.TLS_CLIENT_METHOD)
context.load_verify_locations(roots)
context.set_verify(SSL.VERIFY_PEER, lambda _connection, _certificate, _error, _depth, good: bool(good))

plain = socket.create_connection(("127.0.0.1", port), timeout=60)
plain.settimeout(None)
connection = SSL.Connection(context, plain)
connection.set_tlsext_host_name(name.encode())
connection.set_connect_state()
# pyOpenSSL has its own name for it: checked by OpenSSL, as a browser would.
connection.set_verify(SSL.VERIFY_PEER)
try:
    connection.do_handshake()
except SSL.Error as error:
    print(json.dumps({"openssl": SSL.SSLeay_version(0).decode(), "refused": str(error)}))
    sys.exit(0)
connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
answer = b""
while True:
    try:
        piece = connection.recv(65536)
    except (SSL.ZeroReturnError, SSL.SysCallError):
        break
    if not piece:
        break
    answer += piece
print(
    json.dumps(
        {
            "openssl": SSL.SSLeay_version(0).decode(),
            "version": connection.get_protocol_version_name(),
            "group": connection.get_group_name(),
            "cipher": connection.get_cipher_name(),
            "certificate_key": connection.get_peer_certificate(as_cryptography=True).public_key().__class__.__name__,
            "status": answer.split(b"\r\n", 1)[0].decode(),
        }
    )
)
