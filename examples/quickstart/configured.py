"""An application that lives on its configuration: it registers, asks for a first one, takes changes and tells the results.

It knows only localhost: HTTP for calls, a stock NATS client (nats-py) for what it publishes. Its health probe fails as soon
as the greeting is "ill", so that a change can be seen to be undone.

Usage: configured.py nats://127.0.0.1:4222 http://127.0.0.1:6060 PORT
"""

import asyncio
import http.server
import json
import sys
import threading
import urllib.request

import nats

config: dict = {}


def apply(patch: list) -> None:
    """Applies the operations `add`, `replace` and `remove` of a JSON patch."""
    for operation in patch:
        *path, name = operation["path"].lstrip("/").split("/")
        place = config["greeter.json"]
        for part in path:
            place = place[part]
        if operation["op"] == "remove":
            del place[name]
        else:
            place[name] = operation["value"]


class Calls(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v1/_operations/loadConfig":
            config.update(body)
            print("application: first configuration:", json.dumps(config))
            publish("EVENT", {"eventName": "Configured"})
        elif self.path == "/updateConfig":
            apply(json.loads(body["config-patch"]))
            print(f"application: revision {body['revision']}:", json.dumps(config))
            result = {"change-set-key": body["change-set-key"], "revision": body["revision"]}
            publish("CONFIG", result | {"status": "success", "remarks": ""})
        self.answer(200)

    def do_GET(self) -> None:
        ill = config.get("greeter.json", {}).get("greeting") == "ill"
        self.answer(503 if ill else 200)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The demo prints what matters."""


def publish(subject: str, message: dict) -> None:
    """Publishes from the thread of a call, and waits until the sidecar has taken it."""
    done = asyncio.run_coroutine_threadsafe(send(subject, message), loop)
    done.result(timeout=5)


async def send(subject: str, message: dict) -> None:
    await client.publish(subject, json.dumps(message).encode())
    await client.flush()


async def main(nats_url: str, cim: str, port: int) -> None:
    global client, loop
    loop = asyncio.get_running_loop()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Calls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = await nats.connect(nats_url, name="configured", reconnect_time_wait=0.05, max_reconnect_attempts=-1)
    body = json.dumps({"container_name": "greeter", "container_id": ""}).encode()
    register = urllib.request.Request(f"{cim}/api/v1/_operations/xgvela/register", data=body, method="POST")
    await asyncio.to_thread(urllib.request.urlopen, register)
    print("application: registered; asking for a first configuration")
    await send("EVENT", {"eventName": "NotConfigured"})
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
