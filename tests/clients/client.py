"""The Python client against CIM: client.py URL survive COUNT

Numbered lines, the last of which is answered when it is accepted, then it hears itself until it is ended. (The flush of
this client sends its PING ahead of what it has buffered.)
"""

import asyncio
import sys

import nats
from nats.errors import Error


async def survive(client: nats.NATS, count: int) -> None:
    for number in range(count - 1):
        await client.publish("LOG", f"line {number}".encode())
    answer = await client.request("LOG", f"line {count - 1}".encode(), timeout=5)
    assert answer.data.startswith(b'{"stream":"LOG"'), answer.data

    async def heard(message: nats.aio.msg.Msg) -> None:
        print("heard", message.data.decode(), flush=True)

    await client.subscribe("echo", cb=heard)
    print("flushed", flush=True)
    number = 0
    while True:
        try:
            await client.publish("echo", str(number).encode())
            await client.flush(timeout=1)
        except (Error, OSError, asyncio.TimeoutError):
            pass  # nobody is there for now
        number += 1
        await asyncio.sleep(0.02)


async def quiet(_: Exception) -> None:
    """A connection that is lost comes back by itself."""


async def main(url: str, count: int) -> None:
    client = await nats.connect(url, name="python", max_reconnect_attempts=-1, reconnect_time_wait=0.05, error_cb=quiet)
    await survive(client, count)


asyncio.run(main(sys.argv[1], int(sys.argv[3])))
