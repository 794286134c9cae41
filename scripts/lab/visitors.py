#!/usr/bin/env python3
"""Visitors who don't stop, whatever happens to the tunnel. Each visit leaves a line in OUT: a JSON list of its kind, when it began and
ended (seconds of the machine's monotonic clock), what came of it, a detail, and the gateway's reference.

usage: visitors.py '{"address": …, "port": …, "tcp_port": …, "host": …, "root": …, "out": …}'
They go on until standard input ends; the visits that are under way then are waited for.
"""
import itertools, json, os, pathlib, subprocess, sys, tempfile, threading, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.dont_write_bytecode = True
from lab import visit
from lab.content import pieces, whole

MIB = 1 << 20
# Longer than the gateway lets a visitor wait, so that its own word is heard.
PATIENCE = 45
# Who wants to know whether the tunnel is there does not wait.
PROBE_PATIENCE, PROBE_EVERY = 5, 0.1
# Between two visits of one visitor.
BREATH = 0.02


class Visitors:
    def __init__(self, place, out):
        self.place, self.out = place, open(out, "w", buffering=1)
        self.over, self.lock = threading.Event(), threading.Lock()
        self.numbers = itertools.count()

    def name(self):
        """No two requests ask for the same."""
        return f"n{next(self.numbers)}"

    def tell(self, kind, began, outcome, detail="", reference=None):
        line = json.dumps([kind, began, time.monotonic(), outcome, detail, reference])
        with self.lock:
            self.out.write(line + "\n")

    def one(self, kind, visit_once):
        began = time.monotonic()
        outcome = visit_once()
        self.tell(kind, began, *outcome)
        # A door that is shut is not run against.
        time.sleep(BREATH if outcome[0] == "right" else 0.1)

    def keep(self, kind, visit_once, most):
        """One connection after the other, with so many requests on each."""
        while not self.over.is_set():
            http = visit.Http(self.place, PATIENCE)
            for _ in range(most):
                self.one(kind, lambda: visit_once(http))
                if self.over.is_set() or http.sock is None:
                    break
            http.close()

    def small(self):
        self.keep("small", lambda http: visit.small(http, self.name()), 50)

    def echoed(self):
        self.keep("echo", lambda http: visit.echoed(http, 64 * 1024), 20)

    def download(self):
        how = itertools.cycle(("bytes", "chunked"))
        self.keep("download", lambda http: visit.download(http, self.name(), 8 * MIB, next(how)), 4)

    def tcp(self):
        while not self.over.is_set():
            self.one("tcp get", lambda: visit.get(self.place, self.name(), 2 * MIB, PATIENCE))
            self.one("tcp put", lambda: visit.put(self.place, self.name(), 2 * MIB, PATIENCE))
            self.one("tcp echo", lambda: visit.echo(self.place, PATIENCE))

    def upload(self):
        announced = itertools.cycle((True, False))
        self.keep("upload", lambda http: visit.upload(http, self.name(), 2 * MIB, next(announced)), 4)

    def http2_upload(self):
        """curl, with what is sent in pieces over some seconds, of a length that nobody is told: most faults find it half-way."""
        while not self.over.is_set():
            with tempfile.TemporaryDirectory() as folder:
                self.trickle(pathlib.Path(folder))
            time.sleep(BREATH)

    def trickle(self, folder):
        name, size, began = self.name(), 2 * MIB, time.monotonic()
        config = self.told(f"sum/{name}/{size}", folder / "0") + ['upload-file = "-"']
        (folder / "config").write_text("\n".join(config))
        curl = subprocess.Popen(["curl", "--config", folder / "config"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False)
        try:
            for piece in pieces(name, size):
                curl.stdin.write(piece)
                curl.stdin.flush()
                time.sleep(0.1)
            curl.stdin.close()
        except BrokenPipeError:
            # It has gone, and says why.
            pass
        line = curl.stdout.read().decode().strip("\n")
        curl.wait()
        self.tell("http2 upload", began, *self.judge(line, [visit.summed(name, size)]))

    def told(self, path, file):
        """What curl is told of one request."""
        return [
            f'url = "https://{self.place.host}:{self.place.port}/{path}"', "http2", "silent", f"max-time = {PATIENCE}",
            f'cacert = "{self.place.root}"', f'output = "{file}"',
            f'connect-to = "{self.place.host}:{self.place.port}:{self.place.address}:{self.place.port}"',
            r'write-out = "%{exitcode} %{http_code} %{http_version} %header{sallyport-reference} %{filename_effective} %{errormsg}\n"',
        ]

    def http2(self):
        """curl, as many at once as it likes on one connection: HTTP/2 is not in Python."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            while not self.over.is_set():
                self.batch(folder)
                time.sleep(BREATH)

    def batch(self, folder):
        wants, config = [], []
        sent = os.urandom(64 * 1024)
        (folder / "sent").write_bytes(sent)
        for path, size in 8 * [("bytes", 1024)] + [("chunked", 256 * 1024), ("bytes", MIB), ("echo", 0)]:
            name = self.name()
            wants.append(sent if path == "echo" else whole(name, size))
            config += ["next"] if config else []
            config += self.told("echo" if path == "echo" else f"{path}/{name}/{size}", folder / str(len(wants) - 1))
            config += [f'data-binary = "@{folder}/sent"'] if path == "echo" else []
        for number in range(len(wants)):
            (folder / str(number)).unlink(missing_ok=True)
        began = time.monotonic()
        done = subprocess.run(["curl", "--parallel", "--config", "-"], input="\n".join(config), capture_output=True, text=True)
        lines = done.stdout.splitlines()
        for line in lines:
            self.tell("http2", began, *self.judge(line, wants))
        if len(lines) != len(wants):
            self.tell("http2", began, "wrong", f"curl told of {len(lines)} of {len(wants)} requests: {done.stderr}")

    @staticmethod
    def judge(line, wants):
        code, status, version, reference, file, *why = line.split(" ", 5)
        if code != "0":
            return "cut", f"{status}, curl {code}: {' '.join(why)}", reference
        if int(status) >= 400:
            return "refused", status, reference
        file = pathlib.Path(file)
        right = status == "200" and version == "2" and file.read_bytes() == wants[int(file.name)]
        return ("right", "", reference) if right else ("wrong", f"{status} by HTTP/{version}, and not what was asked for", reference)

    def probe(self, kind, visit_once):
        """Comes anew again and again, and does not wait for those before."""
        while not self.over.wait(PROBE_EVERY):
            began = time.monotonic()
            threading.Thread(target=lambda: self.tell(kind, began, *visit_once())).start()

    def probe_http(self):
        http = visit.Http(self.place, PROBE_PATIENCE)
        try:
            return visit.small(http, self.name())
        finally:
            http.close()

    def probe_tcp(self):
        return visit.get(self.place, self.name(), 1024, PROBE_PATIENCE)

    def run(self):
        work = [self.small] * 3 + [self.echoed] * 2 + [self.download, self.upload, self.tcp, self.http2, self.http2_upload]
        work += [lambda: self.probe("probe", self.probe_http), lambda: self.probe("tcp probe", self.probe_tcp)]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.over.set()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(PATIENCE + 5)
        # What is still under way has outlived every limit in time.
        for thread in threads:
            if thread.is_alive():
                self.tell("visitor", time.monotonic(), "wrong", "a visit had no end")
        self.out.close()
        os._exit(0)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    place = visit.Place(*(given[name] for name in ("address", "port", "tcp_port", "host", "root")))
    Visitors(place, given["out"]).run()
