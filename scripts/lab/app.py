#!/usr/bin/env python3
"""The app behind the tunnels: HTTP on one port, bytes on another. What it sends can be checked by its name (see content.py).

Its sockets are set to be reset unless they are closed in order, as those of a host that vanishes are: an end that a visitor takes
for an orderly one was made by what lies in between. What it takes for a whole upload and is not goes to FALSE_ENDS.

usage: app.py HTTP_PORT TCP_PORT FALSE_ENDS
"""
import contextlib, hashlib, http.server, pathlib, socket, socketserver, struct, sys, threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True
from lab.content import BLOCK, pieces

RESET, IN_ORDER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


def unless_in_order(connection, what):
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, what)


def compare(name, count, size):
    """An upload has come to its end."""
    if count != size:
        with open(FALSE_ENDS, "a") as out:
            out.write(f"{name}: {count} of {size} bytes looked whole\n")


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        unless_in_order(self.connection, RESET)

    def finish(self):
        unless_in_order(self.connection, IN_ORDER)
        super().finish()

    def log_message(self, *_):
        pass

    def answer(self, body=None, **headers):
        self.send_response(200)
        if body is not None:
            headers["Content-Length"] = len(body)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if body:
            self.wfile.write(body)

    def do_GET(self):
        """/bytes/NAME/SIZE, /chunked/NAME/SIZE"""
        _, how, name, size = self.path.split("/")
        if how == "bytes":
            self.answer(Content_Length=size)
            for piece in pieces(name, int(size)):
                self.wfile.write(piece)
            return
        self.answer(Transfer_Encoding="chunked")
        for piece in pieces(name, int(size)):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def pieces(self, left):
        while left:
            piece = self.rfile.read1(min(left, 1 << 20))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece

    def upload(self):
        """A body of a known length, or in chunks of which one that is empty is the last."""
        if "Content-Length" in self.headers:
            yield from self.pieces(int(self.headers["Content-Length"]))
            return
        while line := self.rfile.readline(32):
            size = int(line, 16)
            yield from self.pieces(size)
            self.rfile.readline(4)
            if not size:
                return
        raise ConnectionResetError

    def do_POST(self):
        """/echo: the same again"""
        self.answer(b"".join(self.upload()))

    def do_PUT(self):
        """/sum/NAME/SIZE: how many bytes came, and their digest"""
        sha, count = hashlib.sha256(), 0
        for piece in self.upload():
            sha.update(piece)
            count += len(piece)
        _, _, name, size = self.path.split("/")
        compare(name, count, int(size))
        self.answer(f"{count} {sha.hexdigest()}".encode())


class Bytes(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        """A line first: `get NAME SIZE`, `put NAME SIZE` or `echo`."""
        unless_in_order(self.connection, RESET)
        word, *rest = self.rfile.readline(256).decode().split() or [""]
        if word == "get":
            for piece in pieces(rest[0], int(rest[1])):
                self.wfile.write(piece)
        elif word == "put":
            sha, count = hashlib.sha256(), 0
            while piece := self.rfile.read1(1 << 20):
                sha.update(piece)
                count += len(piece)
            compare(rest[0], count, int(rest[1]))
            self.wfile.write(f"{count} {sha.hexdigest()}\n".encode())
        elif word == "echo":
            while piece := self.rfile.read1(BLOCK):
                self.wfile.write(piece)
        unless_in_order(self.connection, IN_ORDER)


class Quiet:
    """Connections that break off are what this is for."""
    request_queue_size = 4096
    daemon_threads = True

    def handle_error(self, *_):
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(*_)


class WebServer(Quiet, http.server.ThreadingHTTPServer):
    pass


class BytesServer(Quiet, socketserver.ThreadingTCPServer):
    allow_reuse_address = True


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    FALSE_ENDS = sys.argv[3]
    threading.Thread(target=BytesServer(("127.0.0.1", int(sys.argv[2])), Bytes).serve_forever, daemon=True).start()
    WebServer(("127.0.0.1", int(sys.argv[1])), Web).serve_forever()
