"""The Python side of the tests: answers each request, a line of JSON on stdin, with a line of JSON on stdout.

What needs more than the standard library is imported where it is used, so that any Python can answer "keys".
Items travel as JSON texts inside the JSON, so that a test sees the very text that Python reads or writes.
"""

import asyncio
import base64
import json
import sys
import time
import warnings
from contextlib import nullcontext
from types import SimpleNamespace
from unittest import mock

loop = asyncio.new_event_loop()
sessions = {}  # those that are open, by the JSON of what describes them


def version(request):
    return ".".join(map(str, sys.version_info[:3]))


def sdk(request):
    from importlib.metadata import version

    return version("openai-agents")


def key_function(request):
    """Returns the source of the SDK's function that makes a master key of a string."""
    import inspect

    from agents.extensions.memory import encrypt_session

    return inspect.getsource(encrypt_session._ensure_fernet_key_bytes)


def keys(request):
    """Runs that function, which needs nothing but base64. None stands for the UTF-8 of the string itself."""
    warnings.simplefilter("ignore", FutureWarning)  # 3.15 says that "+" and "/" will be skipped one day
    names = {"base64": base64}
    exec(request["source"], names)
    secrets = map(names["_ensure_fernet_key_bytes"], request["keys"])
    return [None if secret == key.encode() else secret.hex() for key, secret in zip(request["keys"], secrets)]


def open_session(description):
    """Opens a session of the SDK as an application would, once: on a store, and encrypted where there is a key."""
    name = json.dumps(description)
    if name in sessions:
        return sessions[name]
    from agents import SQLiteSession
    from agents.extensions import memory

    session_id, url, options = description["id"], description["url"], description["options"]
    if description["class"] == "SQLiteSession":
        session = SQLiteSession(session_id, url, **options)
    elif description["class"] == "AsyncSQLiteSession":
        session = memory.AsyncSQLiteSession(session_id, url, **options)
    elif description["class"] == "SQLAlchemySession":
        session = memory.SQLAlchemySession.from_url(session_id, url=url, create_tables=True, **options)
    else:
        session = memory.RedisSession.from_url(session_id, url=url, **options)
    if description["key"]:
        session = memory.EncryptedSession(session_id, session, description["key"], description["ttl"])
    sessions[name] = session
    return session


async def close(request):
    """Closes every session that is open."""
    while sessions:
        session = sessions.popitem()[1]
        store = getattr(session, "underlying_session", session)
        closing = store.engine.dispose() if hasattr(store, "engine") else store.close()
        if asyncio.iscoroutine(closing):
            await closing


def texts(items):
    return [json.dumps(item) for item in items]


async def add(request):
    await open_session(request["session"]).add_items([json.loads(text) for text in request["items"]])


async def get(request):
    return texts(await open_session(request["session"]).get_items(request["limit"]))


async def pop(request):
    item = await open_session(request["session"]).pop_item()
    return None if item is None else json.dumps(item)


async def clear(request):
    await open_session(request["session"]).clear_session()


async def mix(request):
    """Adds and pops for some seconds, in several tasks with handles of their own, and tells what it has done."""
    deadline = time.monotonic() + request["seconds"]
    done = {"added": [], "popped": [], "errors": []}

    async def attempt(operation):
        try:
            return await operation
        except Exception as error:
            done["errors"].append(f"{type(error).__name__}: {error}")

    async def work(worker):
        session = open_session({**request["session"], "worker": worker})
        number = 0
        while time.monotonic() < deadline:
            for size in (1, 2):
                items = [{"from": f"Python {worker}", "n": number + n} for n in range(size)]
                number += size
                await attempt(session.add_items(items))
                done["added"] += items
            for _ in range(2):
                item = await attempt(session.pop_item())
                if item is not None:
                    done["popped"].append(item)

    await asyncio.gather(*(work(worker) for worker in range(request["workers"])))
    return {"added": texts(done["added"]), "popped": texts(done["popped"]), "errors": done["errors"]}


async def run(request):
    """Runs the SDK's Runner over the session, with a tool and a model that answers what the request says.

    Returns the input that the model was given, call by call. If the request names the URL of an API, the
    model is the SDK's own for that API, and the input is what the API is sent: nothing is returned.
    """
    from agents import Agent, RunConfig, Runner, Usage, function_tool
    from agents.items import ModelResponse
    from agents.models.interface import Model
    from openai.types.responses import ResponseOutputItem
    from pydantic import TypeAdapter

    inputs = []

    class ScriptedModel(Model):
        async def get_response(self, system_instructions, input, *args, **kwargs):
            inputs.append(texts(input))
            output = [TypeAdapter(ResponseOutputItem).validate_json(text) for text in request["outputs"][len(inputs) - 1]]
            return ModelResponse(output=output, usage=Usage(), response_id=None)

        def stream_response(self, *args, **kwargs):
            raise NotImplementedError

    def model():
        if "url" not in request:
            return ScriptedModel()
        from agents import AsyncOpenAI, OpenAIChatCompletionsModel, OpenAIResponsesModel

        client = AsyncOpenAI(base_url=request["url"], api_key="none", max_retries=0)
        kind = OpenAIResponsesModel if request["api"] == "responses" else OpenAIChatCompletionsModel
        return kind(model="m", openai_client=client)

    @function_tool
    def weather(city: str) -> str:
        return f"{city}: 21 °C, sunny"

    await Runner.run(
        Agent(name="Traveller", model=model(), tools=[weather]),
        request["input"],
        session=open_session(request["session"]),
        run_config=RunConfig(tracing_disabled=True),
    )
    return inputs


def answer(request):
    """Does what a request asks. Where it names a time, that is what the clock shows to Fernet tokens."""
    clock = nullcontext()
    if "now" in request:
        clock = mock.patch("cryptography.fernet.time", SimpleNamespace(time=lambda: request["now"]))
    with clock:
        result = globals()[request["do"]](request)
        return loop.run_until_complete(result) if asyncio.iscoroutine(result) else result


def main():
    for line in sys.stdin:
        try:
            response = {"result": answer(json.loads(line))}
        except Exception as error:
            response = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(response), flush=True)


main()
