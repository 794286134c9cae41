"""A gRPC app and its visitor, by the stock implementation (grpcio), without generated code: messages are bytes.

    grpc_peer.py app                        serves in clear on a free port, which it prints
    grpc_peer.py visit PORT HOST ROOT TOKEN calls through the gateway and prints one line for each thing that held
"""
import sys
from concurrent import futures

import grpc

METHODS = "sallyport.test.Echo"


def unary(message, context):
    context.set_trailing_metadata((("x-length", str(len(message))),))
    return message[::-1]


def fail(message, context):
    context.set_trailing_metadata((("x-why-bin", b"\x00\xff"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: " + message.decode())


def count(message, context):
    for number in range(int(message)):
        yield str(number).encode()


def converse(messages, context):
    for message in messages:
        yield b"heard " + message


def seen(message, context):
    return "\n".join(f"{key}={value}" for key, value in context.invocation_metadata() if isinstance(value, str)).encode()


def app():
    handlers = grpc.method_handlers_generic_handler(METHODS, {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Converse": grpc.stream_stream_rpc_method_handler(converse),
        "Seen": grpc.unary_unary_rpc_method_handler(seen),
    })
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def conversation(call_type):
    """Says a word only when the one before it was answered: a proxy that collects either direction would never go on."""
    answers = None

    def words():
        for number in range(20):
            yield f"word {number}".encode()
            if number < 19:
                heard.get()

    import queue
    heard = queue.Queue()
    answers = call_type(words())
    got = []
    for answer in answers:
        got.append(answer)
        heard.put(answer)
    assert got == [f"heard word {number}".encode() for number in range(20)], got


def visit(port, host, root, token):
    with open(root, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", host), ("grpc.default_authority", f"{host}:{port}")]
    metadata = [("authorization", f"Bearer {token}"), ("x-forwarded-for", "10.0.0.1")]
    with grpc.secure_channel(f"ipv4:127.0.0.1:{port}", credentials, options) as channel:
        path = lambda name: f"/{METHODS}/{name}"
        answer, call = channel.unary_unary(path("Unary")).with_call(b"abc", timeout=20, metadata=metadata)
        assert answer == b"cba", answer
        assert ("x-length", "3") in [(key, value) for key, value in call.trailing_metadata()], call.trailing_metadata()
        print("unary with a trailer")
        large = bytes(range(256)) * 12_000
        assert channel.unary_unary(path("Unary")).with_call(large, timeout=30, metadata=metadata)[0] == large[::-1]
        print("a large message")
        try:
            channel.unary_unary(path("Fail"))(b"Sunday", timeout=20, metadata=metadata)
            raise AssertionError("it should have failed")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
            assert error.details() == "not today: Sunday", error.details()
            assert ("x-why-bin", b"\x00\xff") in [(key, value) for key, value in error.trailing_metadata()]
        print("an error with its trailers")
        numbers = list(channel.unary_stream(path("Count"))(b"1000", timeout=30, metadata=metadata))
        assert numbers == [str(number).encode() for number in range(1000)]
        print("a stream from the server")
        conversation(lambda words: channel.stream_stream(path("Converse"))(words, timeout=30, metadata=metadata))
        print("a conversation both ways at once")
        told = channel.unary_unary(path("Seen"))(b"", timeout=20, metadata=metadata).decode()
        assert "x-forwarded-for=127.0.0.1" in told.splitlines(), told
        assert "authorization" not in told, told
        print("the gateway's own word on where it came from")


if sys.argv[1] == "app":
    app()
else:
    visit(*sys.argv[2:])
