"""Hosts of a lab: network namespaces with lines between them, and no way out of the lab."""
import json, subprocess, sys

from lab.gateway import ROOT
from lab.processes import run


class Host:
    """A network namespace of its own, with its own /etc/hosts."""

    def __init__(self, name, names=None):
        self.name, self.names = name, names
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def command(self, *command):
        """The same command on this host. It replaces the shell that sets it up, so that its process is the command's."""
        if self.names:
            command = ["sh", "-c", f'mount --bind "{self.names}" /etc/hosts && exec "$@"', "sh", *command]
        return ["ip", "netns", "exec", self.name, *command]

    def remove(self):
        run("ip", "netns", "del", self.name)


class Line:
    """Between two hosts, at the addresses 198.18.NUMBER.1 and .2 (set aside for tests by RFC 2544)."""

    def __init__(self, processes, first, second, number, seed):
        device, self.addresses = f"line{number}", (f"198.18.{number}.1", f"198.18.{number}.2")
        self.program = processes.start(
            sys.executable, ROOT / "scripts" / "lab" / "wire.py", first.name, device, second.name, device, seed,
            log=f"{device}.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.told()
        for host, own, other in ((first, *self.addresses), (second, *reversed(self.addresses))):
            run("ip", "-n", host.name, "address", "add", own, "peer", other, "dev", device)
            run("ip", "-n", host.name, "link", "set", device, "up")

    def told(self):
        line = self.program.stdout.readline()
        if not line:
            raise RuntimeError("a line has ended: its log says why")
        return json.loads(line)

    def be(self, **how):
        """`loss` is a share, `delay` is in seconds each way, `cut` carries nothing; what is not said is not so. In force on return."""
        self.program.stdin.write(json.dumps(how) + "\n")
        self.program.stdin.flush()
        return self.told()
