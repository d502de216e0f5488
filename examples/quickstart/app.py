"""The application of the demo: publishes log lines and events with a stock NATS client (nats-py), and nothing else.

It knows only localhost. Every ten messages it flushes: when the flush returns, the sidecar has accepted them. A flush that
fails (the sidecar was killed) proves nothing, so these messages are published again; what was accepted never is.

Usage: app.py nats://127.0.0.1:4222 LOGS EVENTS PROGRESS_FILE
"""

import asyncio
import json
import sys
import time

import nats
from nats.errors import Error


async def main(url: str, logs: int, events: int, progress: str) -> None:
    client = await nats.connect(
        url,
        name="quickstart",
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        error_cb=quiet,
    )
    again = 0
    every = max(1, logs // max(1, events))
    with open(progress, "w", encoding="utf-8") as accepted:
        for first in range(1, logs + 1, 10):
            batch = [("LOG", f"demo line {n:05}".encode()) for n in range(first, min(first + 10, logs + 1))]
            batch += [("EVENT", event(n // every)) for n in range(first, first + 10) if n % every == 0]
            while not await publish(client, batch):
                again += len(batch)
            accepted.write("".join(payload.decode() + "\n" for _, payload in batch))
            accepted.flush()
            await asyncio.sleep(0.005)
    await client.close()
    print(f"application: {logs} log lines and {events} events accepted; {again} messages were published twice")


async def publish(client: nats.NATS, batch: list[tuple[str, bytes]]) -> bool:
    try:
        for subject, payload in batch:
            await client.publish(subject, payload)
        # Twice, because this client sends the PING of a flush ahead of what it has buffered; the second comes after that.
        await client.flush(timeout=1)
        await client.flush(timeout=1)
        return True
    except (Error, OSError, asyncio.TimeoutError):
        return False


def event(number: int) -> bytes:
    body = {
        "eventName": f"DemoEvent{number:03}",
        "eventTime": int(time.time() * 1000),
        "managedObject": [{"name": "demo", "value": str(number)}],
    }
    return json.dumps(body).encode()


async def quiet(_: Exception) -> None:
    """The demo kills the sidecar on purpose: a lost connection is no news."""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
