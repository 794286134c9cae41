"""Programs that a script starts, counts and ends."""
import contextlib, os, pathlib, resource, signal, socket, subprocess, time

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(*command, **more):
    """What a command prints. Says what it complained of when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def listens(port, address="127.0.0.1"):
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


def wait_for(what, ready, seconds=30):
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} is not ready after {seconds} s")
        time.sleep(0.05)


def memory(process):
    """MiB resident now, and at the most since it began."""
    lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


class Processes:
    """What was started for one purpose, each in a session of its own so that its children are counted and ended with it."""

    def __init__(self, logs):
        self.logs, self.started = logs, []

    def start(self, *command, log, **more):
        """Output goes to the end of the log, so that a program that is started again has one log."""
        with open(self.logs / log, "ab") as out:
            more = {"stdin": subprocess.DEVNULL, "stdout": out, **more}
            one = subprocess.Popen([str(part) for part in command], stderr=out, start_new_session=True, **more)
        self.started.append(one)
        return one

    def stats(self):
        """CPU seconds used and MiB resident, children included."""
        sessions, ticks, resident = {one.pid for one in self.started}, 0, 0
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) in sessions:
                    ticks += int(fields[11]) + int(fields[12])
                    resident += int(fields[21]) * resource.getpagesize()
        return ticks / TICKS, resident / 2**20

    def thread_seconds(self, *names):
        """CPU seconds used by threads whose names begin with one of these; of those that have ended, none."""
        sessions, ticks = {one.pid for one in self.started}, 0
        for entry in pathlib.Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                front, fields = entry.read_text().rsplit(")", 1)
                fields = fields.split()
                if int(fields[3]) in sessions and front.split("(", 1)[1].startswith(names):
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def kill(self, one):
        """As a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)
        one.wait()

    def end(self, one, seconds=20):
        """In order, or by force when that takes too long."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGTERM)
        try:
            one.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(one)

    def stop(self):
        for one in reversed(self.started):
            self.end(one)
