"""An application beside CIM: it greets once a second, and lives on the configuration it is given.

It knows only localhost. Over NATS it publishes log lines (LOG), events (EVENT) and the results of changes (CONFIG), and hears
of the events of others (EVENT-NOTIFICATION). Over HTTP it registers with CIM, and CIM calls it.

Environment, all optional: NATS_URL, CIM_URL, PORT (where CIM calls), CONTAINER_ID.
"""

import asyncio
import http.server
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

import jsonpatch
import nats
from nats.errors import Error

import messages

NATS_URL = os.environ.get("NATS_URL", "nats://localhost:4222")
CIM_URL = os.environ.get("CIM_URL", "http://localhost:6060")
PORT = int(os.environ.get("PORT", "9999"))
CONTAINER_ID = os.environ.get("CONTAINER_ID", "")
NAME = "greeter"


class Application:
    def __init__(self) -> None:
        self.config: dict = {"greeter.json": {"greeting": "nothing"}}
        self.loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()

    async def run(self) -> None:
        # For ever: the sidecar may be away for a moment, and is never replaced by another.
        self.nats = await nats.connect(
            NATS_URL, name=NAME, max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=quiet
        )
        # Before the registration: CIM calls as soon as it knows the application.
        server = http.server.ThreadingHTTPServer(("localhost", PORT), Calls)
        server.application = self
        threading.Thread(target=server.serve_forever, daemon=True).start()
        await asyncio.to_thread(self.register)
        # In this order: CIM sends as soon as there is a subscription.
        await self.nats.subscribe("EVENT-NOTIFICATION", cb=self.notified)
        await asyncio.to_thread(self.subscribe, ["Greeted"])
        # Asks for the configuration; whoever has kept one says "Configured" instead.
        await self.publish("EVENT", messages.event("NotConfigured", CONTAINER_ID))

        number = 0
        while not self.ended.is_set():
            number += 1
            await self.log("INFO", f"{self.config['greeter.json']['greeting']} {number}")
            await self.publish("EVENT", messages.event("Greeted", CONTAINER_ID, {"number": str(number)}))
            try:
                await asyncio.wait_for(self.ended.wait(), timeout=1)
            except asyncio.TimeoutError:
                pass
        await self.log("INFO", "goodbye")
        # The last word: CIM stops waiting for this application.
        await self.publish("EVENT", messages.event("ShutdownSuccess", CONTAINER_ID))
        try:
            await self.nats.close()
        except asyncio.CancelledError:
            # CIM has closed it at the same moment. The library was waiting for that end, and cancels the wait of both.
            pass

    def register(self) -> None:
        while True:
            try:
                body = {"container_name": NAME, "container_id": CONTAINER_ID}
                answer = post("/api/v1/_operations/xgvela/register", body)
                print("registered:", answer["status"])
                return
            except (OSError, ValueError):
                time.sleep(0.5)  # CIM is starting, or does not know yet who the pod is

    def subscribe(self, names: list[str]) -> None:
        try:
            answer = post("/api/v1/_operations/event/subscriptions", {"localEventName": names})
            print("subscribed:", answer["subscriptionId"])
        except urllib.error.HTTPError as error:
            print("not subscribed: CIM answered", error.code)

    async def notified(self, message: nats.aio.msg.Msg) -> None:
        print("notified:", message.data.decode())

    async def log(self, level: str, text: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        await self.publish("LOG", messages.log(CONTAINER_ID, NAME, f"[{now}][{level}][-]-{text}"))

    async def publish(self, subject: str, message: bytes) -> None:
        """Returns when CIM has accepted the message, which it answers when it was asked with a reply subject.

        One that was not answered is sent again. (The flush of this client sends its PING ahead of what it has buffered, so
        its PONG says nothing about the last messages.)
        """
        while True:
            try:
                await self.nats.request(subject, message, timeout=2)
                return
            except (Error, OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.1)

    async def result(self, change: dict, status: str, remarks: str) -> None:
        result = {"change-set-key": change["change-set-key"], "revision": change["revision"]}
        message = json.dumps(result | {"status": status, "remarks": remarks}).encode()
        while True:  # there is no answer on CONFIG
            try:
                await self.nats.publish("CONFIG", message)
                return await self.nats.flush(timeout=2)
            except (Error, OSError, asyncio.TimeoutError):
                await asyncio.sleep(0.1)


class Calls(http.server.BaseHTTPRequestHandler):
    """What CIM calls."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        app = self.server.application
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/updateConfig":
            change = json.loads(body)
            name = change["data-key"]
            try:
                patched = jsonpatch.apply_patch(app.config[name], change["config-patch"])
                app.config = {**app.config, name: patched}
                self.wait(app.result(change, "success", ""))
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, KeyError) as error:
                self.wait(app.result(change, "failure", str(error)))
        elif self.path == "/api/v1/_operations/loadConfig":
            app.config = {**app.config, **json.loads(body)}
            self.wait(app.publish("EVENT", messages.event("Configured", CONTAINER_ID)))
        elif self.path == "/api/v1/_operations/shutdown":
            app.loop.call_soon_threadsafe(app.ended.set)
        else:
            return self.answer(404)
        self.answer(200)

    def wait(self, work) -> None:
        """Runs it where the connection lives. The result of a change is published before its call is answered."""
        asyncio.run_coroutine_threadsafe(work, self.server.application.loop).result()

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def post(path: str, body: dict) -> dict:
    request = urllib.request.Request(CIM_URL + path, data=json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


async def quiet(_: Exception) -> None:
    """A connection that is lost comes back by itself."""


async def main() -> None:
    await Application().run()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(main())
