"""A WebSocket app and its visitor, by a stock implementation (python3-websockets), which offer to compress messages as they do by default.

    websocket_peer.py app                       echoes, in clear, on a free port, which it prints
    websocket_peer.py visit PORT HOST PATH ROOT COUNT
        says COUNT messages, hears each again, and prints the extensions that were agreed on and how many bytes it said, as JSON
"""
import asyncio
import json
import ssl
import sys

import websockets

MESSAGE = json.dumps([{"number": number, "state": "well", "where": "in the house"} for number in range(200)])


def agreed(socket):
    """The property moved with the library's new implementation."""
    protocol = getattr(socket, "protocol", socket)
    return [extension.name for extension in protocol.extensions]


async def app():
    async def echo(socket, _path=None):
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.ConnectionClosed:
            pass

    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        sockets = server.sockets if hasattr(server, "sockets") else server.server.sockets
        print(next(iter(sockets)).getsockname()[1], flush=True)
        await asyncio.Future()


async def visit(port, host, path, root, count):
    context = ssl.create_default_context(cafile=root)
    way = {"ssl": context, "host": "127.0.0.1", "port": int(port), "server_hostname": host}
    async with websockets.connect(f"wss://{host}:{port}{path}", **way) as socket:
        for _ in range(int(count)):
            await socket.send(MESSAGE)
            heard = await socket.recv()
            assert heard == MESSAGE, heard[:100]
        print(json.dumps({"extensions": agreed(socket), "said": int(count) * len(MESSAGE)}), flush=True)


if sys.argv[1] == "app":
    asyncio.run(app())
else:
    asyncio.run(visit(*sys.argv[2:]))
