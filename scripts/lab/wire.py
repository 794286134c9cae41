#!/usr/bin/env python3
"""A line between two hosts (network namespaces) that loses packets, delays them or carries none: a stand-in in user space for
`tc netem`, which many kernels are built without. Each end is a TUN device, so what the hosts speak over it is the kernel's own TCP
and UDP, and every packet is lost or late by itself.

usage: wire.py NAMESPACE DEVICE NAMESPACE DEVICE SEED
Reads orders as JSON lines {"loss": 0.01, "delay": 0.05, "cut": false}, and says after each what it has carried and lost until then.
"""
import collections, ctypes, fcntl, json, os, random, select, struct, sys, time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
# Packets that are under way in one direction, at the most: 50 ms of more than a gigabit.
LONGEST = 10_000
# Packets that are read in a row before the other direction has its turn.
TURN = 64


def tun(namespace, device):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as home:
        if libc.setns(home.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return end


class Wire:
    def __init__(self, ends, seed):
        self.ends, self.chance = ends, random.Random(seed)
        self.loss, self.delay, self.cut = 0.0, 0.0, False
        self.carried = self.lost = 0
        self.under_way = (collections.deque(), collections.deque())

    def order(self, loss=0.0, delay=0.0, cut=False):
        self.loss, self.delay, self.cut = loss, delay, cut
        if cut:
            for queue in self.under_way:
                self.lost += len(queue)
                queue.clear()
        return {"carried": self.carried, "lost": self.lost}

    def take(self, side):
        """Reads what one end sends; it goes to the other."""
        queue = self.under_way[side]
        for _ in range(TURN):
            try:
                packet = os.read(self.ends[side], 65536)
            except BlockingIOError:
                return
            if self.cut or len(queue) >= LONGEST or (self.loss and self.chance.random() < self.loss):
                self.lost += 1
            elif self.delay or queue:
                queue.append((time.monotonic() + self.delay, packet))
            else:
                self.give(side, packet)

    def give(self, side, packet):
        try:
            os.write(self.ends[1 - side], packet)
            self.carried += 1
        except OSError:
            # The other host's end is not up, or is full: lost, as on any line.
            self.lost += 1

    def due(self):
        """Gives what is due, and says in how many seconds more will be."""
        now = time.monotonic()
        for side, queue in enumerate(self.under_way):
            while queue and queue[0][0] <= now:
                self.give(side, queue.popleft()[1])
        waits = [queue[0][0] - now for queue in self.under_way if queue]
        return min(waits, default=None)


def main():
    first, second = tun(sys.argv[1], sys.argv[2]), tun(sys.argv[3], sys.argv[4])
    wire, poll, wait = Wire((first, second), sys.argv[5]), select.epoll(), None
    for source in (first, second, 0):
        poll.register(source, select.EPOLLIN)
    print(json.dumps({"carried": 0, "lost": 0}), flush=True)
    while True:
        # epoll counts whole milliseconds: the last one is waited for with open eyes, lest each packet be a millisecond late.
        timeout = None if wait is None else max(wait - 0.001, 0)
        for source, _ in poll.poll(timeout):
            if source == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                print(json.dumps(wire.order(**json.loads(line))), flush=True)
            else:
                wire.take(0 if source == first else 1)
        wait = wire.due()


main()
