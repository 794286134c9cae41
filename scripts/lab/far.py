#!/usr/bin/env python3
"""A TCP relay that holds what passes, so that two programs on one machine are as far from each other as others are on a network: a
stand-in for `tc netem`. What it shows is what waiting costs (round trips, windows of the programs), not what the kernel's TCP makes of
a long line: each side's TCP ends here.

usage: far.py FROM-ADDRESS:PORT TO-PORT MILLISECONDS-EACH-WAY
"""
import asyncio, collections, sys

# Bytes under way in one direction, at the most: 25 ms of 20 gigabits.
MOST = 64 << 20


class Way(asyncio.Protocol):
    """One end; `other` is that at which its bytes come out."""

    def __init__(self, delay, connect=None):
        self.delay, self.connect, self.other = delay, connect, None
        self.loop, self.held, self.bytes, self.early = asyncio.get_running_loop(), collections.deque(), 0, []

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(6, 1, 1)
        if self.connect:
            self.loop.create_task(self.join())

    async def join(self):
        self.transport.pause_reading()
        _, self.other = await self.loop.create_connection(lambda: Way(self.delay), "127.0.0.1", self.connect)
        self.other.other = self
        self.transport.resume_reading()

    def data_received(self, data):
        self.hold(data)
        if self.bytes > MOST:
            self.transport.pause_reading()

    def eof_received(self):
        self.hold(b"")
        return True

    def connection_lost(self, error):
        if self.other and not self.other.transport.is_closing():
            self.loop.call_later(self.delay, self.other.transport.abort if error else self.other.transport.close)

    def hold(self, data):
        self.held.append((self.loop.time() + self.delay, data))
        self.bytes += len(data)
        if len(self.held) == 1:
            self.loop.call_later(self.delay, self.give)

    def give(self):
        now, out = self.loop.time(), self.other.transport
        while self.held and self.held[0][0] <= now:
            _, data = self.held.popleft()
            self.bytes -= len(data)
            if out.is_closing():
                continue
            if data:
                out.write(data)
            elif out.can_write_eof():
                out.write_eof()
        if self.bytes <= MOST and not self.transport.is_closing():
            self.transport.resume_reading()
        if self.held:
            self.loop.call_at(self.held[0][0], self.give)


async def main(here, to, milliseconds):
    address, port = here.rsplit(":", 1)
    server = await asyncio.get_running_loop().create_server(lambda: Way(float(milliseconds) / 1000, int(to)), address, int(port), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
