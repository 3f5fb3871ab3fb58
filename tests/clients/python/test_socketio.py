"""python-socketio, an independent client: asyncio over aiohttp.

Run by tests/run, or by hand:
    PUSH_TEST_CLIENT_URL=… PUSH_TEST_API_URL=… python -m unittest -v
"""

import asyncio
import os
import unittest
import uuid

import aiohttp
import socketio


def url(name):
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} is not set: start a gateway and pass its URL, or use tests/run")
    return value.rstrip("/")


CLIENT_URL = url("PUSH_TEST_CLIENT_URL")
API_URL = url("PUSH_TEST_API_URL")

# Longest wait for something that must happen, in seconds.
PATIENCE = 20


class Cable:
    """A TCP connection to the gateway that can be cut."""

    def __init__(self):
        self.ends = set()

    async def plug(self):
        """Listens; the URL that leads through it to the gateway."""
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        return "http://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    async def carry(self, reader, writer):
        host, port = CLIENT_URL.removeprefix("http://").split(":")
        there, back = await asyncio.open_connection(host, port)
        self.ends.update((writer, back))
        await asyncio.gather(self.copy(reader, back), self.copy(there, writer))

    async def copy(self, source, target):
        try:
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
        except ConnectionError:
            pass
        finally:
            self.ends.discard(target)
            target.close()

    def cut(self):
        """Every connection through it ends, as when a network goes away."""
        for end in list(self.ends):
            end.transport.abort()

    def unplug(self):
        self.cut()
        self.server.close()


class Suite:
    """What is tried over each way to connect; subclasses name the way."""

    transports = None

    async def asyncSetUp(self):
        self.clients = []
        self.http = aiohttp.ClientSession()

    async def asyncTearDown(self):
        for client in self.clients:
            await client.disconnect()
        await self.http.close()

    async def connect(self, namespaces=None, at=CLIENT_URL, **options):
        client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.1)
        self.clients.append(client)
        await client.connect(
            at, transports=self.transports, namespaces=namespaces, wait_timeout=PATIENCE, **options
        )
        return client

    async def publish(self, **body):
        async with self.http.post(f"{API_URL}/v1/publish", json=body) as response:
            text = await response.text()
            self.assertEqual(response.status, 200, text)

    async def subscribe(self, client, argument, namespace=None):
        ack = await client.call("push:subscribe", argument, namespace=namespace, timeout=PATIENCE)
        self.assertTrue(ack.get("ok"), ack)
        return ack

    def inbox(self, client, event, namespace=None):
        """A queue of what the handler of `event` is called with."""
        queue = asyncio.Queue()
        client.on(event, lambda *args: queue.put_nowait(args), namespace=namespace)
        return queue

    async def next(self, queue):
        return await asyncio.wait_for(queue.get(), PATIENCE)

    async def test_gets_text_of_every_kind(self):
        client = await self.connect()
        inbox = self.inbox(client, "value")
        channel = str(uuid.uuid4())
        await self.subscribe(client, channel)
        for value in ["text", "ünï 🚀", "", 17, 1.5, True, None, [1, [2]], {"a": {"b": []}}]:
            await self.publish(channel=channel, event="value", data=value)
            self.assertEqual((await self.next(inbox))[0], value)

    async def test_gets_and_sends_bytes(self):
        reader = await self.connect()
        writer = await self.connect()
        inbox = self.inbox(reader, "bytes")
        channel = str(uuid.uuid4())
        await self.subscribe(reader, channel)
        await self.publish(channel=channel, event="bytes", data={"base64": "AQIDBA=="})
        self.assertEqual((await self.next(inbox))[0], b"\x01\x02\x03\x04")
        data = bytes(range(256)) * 200
        message = {"channel": channel, "event": "bytes", "data": data}
        ack = await writer.call("push:publish", message, timeout=PATIENCE)
        self.assertTrue(ack.get("ok"), ack)
        self.assertEqual((await self.next(inbox))[0], data)

    async def test_gets_errors_by_ack(self):
        client = await self.connect()
        ack = await client.call("push:subscribe", "", timeout=PATIENCE)
        self.assertEqual(ack["error"]["code"], "channel_invalid")
        ack = await client.call("nobody handles this", {"a": 1}, timeout=PATIENCE)
        self.assertEqual(ack["error"]["code"], "no_handler")

    async def test_keeps_the_order(self):
        client = await self.connect()
        inbox = self.inbox(client, "n")
        channel = f"log.{uuid.uuid4()}"
        await self.subscribe(client, channel)
        for number in range(300):
            await self.publish(channel=channel, event="n", data=number)
        for number in range(300):
            self.assertEqual((await self.next(inbox))[0], number)

    async def test_joins_two_namespaces(self):
        client = await self.connect(namespaces=["/", "/admin"])
        main, admin = self.inbox(client, "e"), self.inbox(client, "e", "/admin")
        room = str(uuid.uuid4())
        await self.subscribe(client, room)
        await self.subscribe(client, room, "/admin")
        await self.publish(channel=f"$ns.admin.{room}", event="e", data="admin")
        await self.publish(channel=room, event="e", data="main")
        self.assertEqual((await self.next(admin))[0], "admin")
        self.assertEqual((await self.next(main))[0], "main")

    async def test_is_told_that_a_namespace_does_not_exist(self):
        with self.assertRaises(socketio.exceptions.ConnectionError):
            await self.connect(namespaces=["/nowhere"])

    async def test_comes_back_after_its_connection_was_lost(self):
        cable = Cable()
        client = await self.connect(at=await cable.plug())
        self.addCleanup(cable.unplug)
        inbox = self.inbox(client, "n")
        back = self.inbox(client, "connect")
        channel = f"log.{uuid.uuid4()}"
        ack = await self.subscribe(client, channel)
        # Its next poll must be under way, or the cut hits nothing.
        await asyncio.sleep(0.3)
        cable.cut()
        await self.next(back)
        # This client knows nothing of recovery: it resumes by itself.
        for number in range(3):
            await self.publish(channel=channel, event="n", data=number)
        await self.subscribe(client, {"channel": channel, "since": ack["offset"]})
        for number in range(3):
            self.assertEqual((await self.next(inbox))[0], number)


class Polling(Suite, unittest.IsolatedAsyncioTestCase):
    transports = ["polling"]


class WebSocket(Suite, unittest.IsolatedAsyncioTestCase):
    transports = ["websocket"]


class Upgrade(Suite, unittest.IsolatedAsyncioTestCase):
    transports = ["polling", "websocket"]


if __name__ == "__main__":
    unittest.main()
