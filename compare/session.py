"""The contender in Python: EncryptedSession over a list in memory, or over a session class of the SDK.

Go starts this script and sends it requests, a line of JSON each; each is answered by a line of JSON. The clock runs
during the calls of the session alone: not while JSON from Go is read, and not while garbage of before is collected.
"""

import asyncio
import gc
import importlib.metadata
import json
import platform
import sys
import time

from agents.extensions.memory import EncryptedSession
from agents.memory.session import SessionABC

# What anything else prints must not get among the answers.
answers, sys.stdout = sys.stdout, sys.stderr


class ListSession(SessionABC):
    def __init__(self, session_id):
        self.session_id = session_id
        self.items = []

    async def get_items(self, limit=None):
        return list(self.items) if limit is None else self.items[max(0, len(self.items) - limit) :]

    async def add_items(self, items):
        self.items.extend(items)

    async def pop_item(self):
        return self.items.pop() if self.items else None

    async def clear_session(self):
        self.items.clear()


def open_store(session_id, store):
    if store is None:
        return ListSession(session_id)
    # Imported here, for they need more than the SDK itself.
    if store["class"] == "SQLiteSession":
        from agents import SQLiteSession

        return SQLiteSession(session_id, store["url"], **store["options"])
    if store["class"] == "SQLAlchemySession":
        from agents.extensions.memory import SQLAlchemySession

        return SQLAlchemySession.from_url(session_id, url=store["url"], create_tables=True, **store["options"])
    from agents.extensions.memory import RedisSession

    return RedisSession.from_url(session_id, url=store["url"], **store["options"])


class Contender:
    async def load(self, session_id, key, ttl, items, sealed, store):
        """Takes the items, and checks that it reads those that Go has sealed."""
        self.store = open_store(session_id, store)
        self.session = EncryptedSession(session_id, self.store, key, ttl)
        self.items = [json.loads(item) for item in items]
        await self.store.clear_session()
        await self.store.add_items([json.loads(item) for item in sealed])
        if await self.session.get_items() != self.items:
            raise ValueError("Python does not read what Go has sealed")
        return {}

    async def write(self):
        await self.session.clear_session()
        gc.collect()
        start = time.perf_counter()
        await self.session.add_items(self.items)
        return {"seconds": time.perf_counter() - start}

    async def get(self, limit):
        gc.collect()
        start = time.perf_counter()
        items = await self.session.get_items(limit)
        seconds = time.perf_counter() - start
        if items != self.items[-(limit or 0) :]:
            raise ValueError("Python does not read what it has written")
        return {"seconds": seconds}

    async def add(self, count):
        gc.collect()
        start = time.perf_counter()
        await self.session.add_items(self.items[:count])
        seconds = time.perf_counter() - start
        for _ in range(count):
            await self.session.pop_item()
        return {"seconds": seconds}

    async def pop(self):
        gc.collect()
        start = time.perf_counter()
        item = await self.session.pop_item()
        seconds = time.perf_counter() - start
        await self.session.add_items([item])
        return {"seconds": seconds}

    async def stored(self):
        return {"stored": [json.dumps(item) for item in await self.store.get_items()]}


def answer(values):
    print(json.dumps(values), file=answers, flush=True)


async def main():
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("openai-agents", "cryptography")]
    answer({"versions": ", ".join([platform.python_version(), *versions])})
    contender = Contender()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        operation = getattr(contender, request.pop("op"))
        answer(await operation(**request))


asyncio.run(main())
