"""Publishes each hex payload given as SUBJECT=HEX with nats-py, and flushes: publish.py URL SUBJECT=HEX ..."""

import asyncio
import sys

import nats


async def main() -> None:
    client = await nats.connect(sys.argv[1], name="nats-py")
    for message in sys.argv[2:]:
        subject, payload = message.split("=", 1)
        await client.publish(subject, bytes.fromhex(payload))
    await client.flush()
    await client.drain()


asyncio.run(main())
