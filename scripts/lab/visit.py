"""One visit of a tunnel, and what came of it: `right` (whole, and exactly what belongs to the request), `refused` (a whole answer that
says that it is an error), `cut` (an error that no client takes for an end), or `wrong`, which is everything else."""
import hashlib, http.client, os, socket, ssl, struct

from lab.content import BLOCK, digest, pieces

REFERENCE = "sallyport-reference"
RESET = struct.pack("ii", 1, 0)
# What a client sees when it knows that an answer did not come whole.
CUT = (OSError, http.client.HTTPException)


class Place:
    """Where a gateway is, and what it is called."""

    def __init__(self, address, port, tcp_port, host, root):
        self.address, self.port, self.tcp_port, self.host, self.root = address, port, tcp_port, host, root
        self.context = ssl.create_default_context(cafile=root)

    def tls(self, timeout, buffer=None, of=None):
        """A TLS connection to the tunnel's host, from the address `of` if it matters. An end without a goodbye is an error on it."""
        raw = self.connect(self.port, timeout, buffer, of)
        try:
            return self.context.wrap_socket(raw, server_hostname=self.host, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise

    def connect(self, port, timeout, buffer=None, of=None):
        raw = socket.socket()
        try:
            raw.settimeout(timeout)
            if buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            if of:
                raw.bind((of, 0))
            raw.connect((self.address, port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return raw
        except BaseException:
            raw.close()
            raise


class Http(http.client.HTTPSConnection):
    """A visitor's HTTP/1.1 connection."""

    def __init__(self, place, timeout):
        super().__init__(place.host, place.port, timeout=timeout, context=place.context)
        self.place = place

    def connect(self):
        self.sock = self.place.tls(self.timeout)

    def visit(self, method, path, want, body=None, headers={}):
        """`want` says by its digest whether a body is the right one. Returns what came of it, a detail, and the gateway's reference."""
        status, reference = None, None
        try:
            self.request(method, path, body=body, headers=headers)
            answer = self.getresponse()
            status, reference = answer.status, answer.headers.get(REFERENCE)
            sha, count = hashlib.sha256(), 0
            while piece := answer.read(BLOCK):
                sha.update(piece)
                count += len(piece)
            if answer.length:
                # http.client ends a body that is shorter than announced without a word.
                raise http.client.IncompleteRead(b"", answer.length)
        except CUT as error:
            self.close()
            return "cut", f"{status or 'no answer'}, {type(error).__name__}: {error}", reference
        if status >= 400:
            return "refused", str(status), reference
        right = status == 200 and sha.hexdigest() == want
        return ("right", "", reference) if right else ("wrong", f"{status} with {count} bytes that are not {path}", reference)


def get(place, name, size, timeout):
    """A download through the TCP tunnel, which has no end but the connection's."""
    sha, count = hashlib.sha256(), 0
    try:
        with place.connect(place.tcp_port, timeout) as raw:
            raw.sendall(f"get {name} {size}\n".encode())
            while piece := raw.recv(BLOCK):
                sha.update(piece)
                count += len(piece)
    except OSError as error:
        return "cut", f"after {count} bytes, {type(error).__name__}: {error}"
    if sha.hexdigest() == digest(name, size):
        return "right", ""
    return "wrong", f"an orderly end after {count} of {size} bytes"


def put(place, name, size, timeout):
    """An upload through the TCP tunnel: ended by a half-close, and answered with count and digest."""
    answer = b""
    try:
        with place.connect(place.tcp_port, timeout) as raw:
            # Who gives up in the middle breaks off: an orderly end would be one of its own making.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            raw.sendall(f"put {name} {size}\n".encode())
            for piece in pieces(name, size):
                raw.sendall(piece)
            raw.shutdown(socket.SHUT_WR)
            while piece := raw.recv(BLOCK):
                answer += piece
    except OSError as error:
        return "cut", f"{type(error).__name__}: {error}"
    right = answer == f"{size} {digest(name, size)}\n".encode()
    return ("right", "") if right else ("wrong", f"an orderly end after {answer!r}")


def echo(place, timeout, messages=20, size=8192):
    """Messages to and fro on one connection."""
    try:
        with place.connect(place.tcp_port, timeout) as raw:
            raw.sendall(b"echo\n")
            for number in range(messages):
                sent, back = os.urandom(size), b""
                raw.sendall(sent)
                while len(back) < size:
                    piece = raw.recv(size - len(back))
                    if not piece:
                        return "wrong", f"an orderly end in message {number}, after {len(back)} bytes of it"
                    back += piece
                if back != sent:
                    return "wrong", f"message {number} came back changed"
    except OSError as error:
        return "cut", f"{type(error).__name__}: {error}"
    return "right", ""


def small(http, name, size=1024):
    return http.visit("GET", f"/bytes/{name}/{size}", digest(name, size))


def download(http, name, size, how="bytes"):
    """`how`: `bytes` announces the length, `chunked` does not."""
    return http.visit("GET", f"/{how}/{name}/{size}", digest(name, size))


def echoed(http, size):
    body = os.urandom(size)
    return http.visit("POST", "/echo", hashlib.sha256(body).hexdigest(), body)


def summed(name, size):
    """What the app answers to an upload."""
    return f"{size} {digest(name, size)}".encode()


def upload(http, name, size, announced=True):
    """Without its length it is sent in chunks."""
    told = hashlib.sha256(summed(name, size)).hexdigest()
    headers = {"Content-Length": str(size)} if announced else {}
    return http.visit("PUT", f"/sum/{name}/{size}", told, pieces(name, size), headers)

