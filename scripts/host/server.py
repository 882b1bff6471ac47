"""A running ComfyUI: started headless on a port of its own, asked over HTTP, followed over its websocket, stopped."""

import http.client
import json
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import processes
from .checkout import PACK
from .data_folder import make_data_folder
from .errors import PromptError, PromptInterrupted, ServerError
from .events import Events

ADDRESS = "127.0.0.1"
Prompt = dict[str, dict[str, Any]]
Event = tuple[str, dict[str, Any]]
NOTHING: Event = ("", {})
ENDED: Event = ("executing", {"node": None})
DYING = 5.0  # seconds between the end of the connections of a dead process and its exit status


@dataclass(frozen=True)
class Progress:
    """Progress of the running node: `value` of `maximum` of its own steps."""

    node: str
    class_type: str
    value: int
    maximum: int


SHARED_CPU = {"OMP_WAIT_POLICY": "PASSIVE"}  # torch's threads otherwise spin; beside other programs that is slow
OnProgress = Callable[[Progress], None]


class Server:
    """Use it as a context: the host serves inside it, and no process of it is left after it.

    Besides this pack, the host loads the custom nodes whose folders have the names `other_packs`.
    """

    def __init__(
        self,
        python: Path,
        tree: Path,
        folder: Path,
        arguments: Sequence[str] = ("--cpu",),
        other_packs: Sequence[str] = (),
    ):
        self.python, self.tree, self.folder, self.arguments = python, tree, make_data_folder(folder), arguments
        self.other_packs = other_packs
        self.log = self.folder / "server.log"
        self.port = 0
        self._process = None

    def __enter__(self) -> "Server":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    def start(self, timeout: float = 300.0) -> None:
        """Start the host and wait until it answers."""
        self.port = _free_port()
        with self.log.open("wb") as log:
            environment = SHARED_CPU | os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
            with processes.defer_interrupts():
                self._process = processes.start(self._command(), cwd=self.tree, env=environment, output=log)
        deadline = time.monotonic() + timeout
        while not self._answers():
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServerError(f"ComfyUI did not answer within {timeout:.0f} s.\n{self.log_tail()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the host and everything that it started."""
        process, self._process = self._process, None
        if process:
            processes.stop(process)

    def check_alive(self) -> None:
        """Raise ServerError when the host has ended."""
        status = self._process.poll() if self._process else 0
        if status is not None:
            raise ServerError(f"ComfyUI ended with exit status {status}. The end of {self.log}:\n{self.log_tail()}")

    def get(self, path: str) -> Any:
        with self._explain_death():
            return self._request("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        with self._explain_death():
            return self._request("POST", path, body)

    def queue(self, prompt: Prompt, client: str = "") -> str:
        """Queue a prompt in API format and return its id.

        Raises PromptError with what its validation found.
        """
        answer = self.post("/prompt", {"prompt": prompt, "client_id": client})
        if "prompt_id" not in answer:
            raise PromptError(_validation_message(answer), answer)
        return answer["prompt_id"]

    def run(self, prompt: Prompt, on_progress: OnProgress | None = None, timeout: float = 3600.0) -> dict[str, Any]:
        """Queue a prompt, follow it to its end and return its entry in the history.

        `timeout` is in seconds and may be infinite. Raises PromptError, and ServerError when the
        host dies under it.
        """
        client = uuid.uuid4().hex
        with self._explain_death():
            events = Events(f"{self.url}/ws?clientId={client}")
        try:
            prompt_id = self.queue(prompt, client)
            self._follow(events, prompt_id, prompt, on_progress or _ignore, time.monotonic() + timeout)
        finally:
            events.close()
        return self.result(prompt_id)

    def result(self, prompt_id: str) -> dict[str, Any]:
        """The history entry of a prompt that has ended. Raises PromptError when it did not end well."""
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        if entry is None:
            raise PromptError(f"The prompt {prompt_id} has not ended.")
        for event, data in entry["status"]["messages"]:
            if event == "execution_error":
                raise PromptError(f"{data['node_type']}: {data['exception_message'].strip()}", data)
            if event == "execution_interrupted":
                raise PromptInterrupted(f"Interrupted in {data['node_type']}.", data)
        return entry

    def files(self, entry: dict[str, Any]) -> list[Path]:
        """The files that a prompt wrote for good, in the order of its nodes."""
        items = (item for output in entry["outputs"].values() for items in output.values() for item in items)
        saved = (item for item in items if isinstance(item, dict) and item.get("type") == "output")
        return [self.folder / "output" / item["subfolder"] / item["filename"] for item in saved]

    def interrupt(self) -> None:
        """Interrupt the prompt at work."""
        self.post("/interrupt", {})

    def node(self, class_type: str) -> dict[str, Any] | None:
        """Return the host's description of a node class, or None when it has none of that name."""
        return self.get(f"/object_info/{quote(class_type)}").get(class_type)

    def log_lines(self) -> list[str]:
        """Return what the host has printed, without colours, in lines of limited length."""
        text = re.sub(r"\x1b\[\d*m", "", self.log.read_text(encoding="utf-8", errors="replace"))
        return [line[:500] for line in text.splitlines()]

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_lines()[-lines:])

    def require_pack(self, class_type: str) -> None:
        """Raise ServerError with the host's own words when it could not load this pack."""
        if self.node(class_type) is None:
            said = [line for line in self.log_lines() if PACK in line and ("Cannot import" in line or "Error" in line)]
            raise ServerError("\n".join(["ComfyUI could not load AnimateDiff Loom.", *said, f"Its log: {self.log}"]))

    def _command(self) -> list[str | Path]:
        database = f"sqlite:///{(self.folder / 'user' / 'comfyui.db').absolute().as_posix()}"
        return [
            *(self.python, self.tree / "main.py", *self.arguments),
            *("--listen", ADDRESS, "--port", str(self.port), "--disable-auto-launch", "--disable-api-nodes"),
            *("--base-directory", self.folder.absolute(), "--database-url", database),
            *("--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK, *self.other_packs),
        ]

    def _follow(self, events: Events, prompt_id: str, prompt: Prompt, on_progress: OnProgress, deadline: float) -> None:
        while time.monotonic() < deadline:
            event, data = self._next_event(events, prompt_id)
            if event == "executing" and data["node"] is None:
                return
            if event in ("executing", "progress"):
                on_progress(_progress(data, prompt))
        raise ServerError(f"The prompt {prompt_id} did not end in time.\n{self.log_tail()}")

    def _next_event(self, events: Events, prompt_id: str) -> Event:
        """Return the host's next message about a prompt; after a second of silence, whether it is in the history."""
        with self._explain_death():
            message = events.receive(timeout=1.0)
        if message is None:
            self.check_alive()
            return ENDED if self.get(f"/history/{prompt_id}") else NOTHING
        event, data = (json.loads(message)[key] for key in ("type", "data"))
        return (event, data) if data.get("prompt_id") == prompt_id else NOTHING

    def _answers(self) -> bool:
        try:
            return "system" in self._request("GET", "/system_stats")
        except (OSError, http.client.HTTPException, ValueError):
            return False

    @contextmanager
    def _explain_death(self) -> Iterator[None]:
        """Let a connection that broke be a ServerError with the exit status and the end of the log."""
        try:
            yield
        except (ConnectionError, http.client.HTTPException) as error:
            with suppress(subprocess.TimeoutExpired):
                if self._process:
                    self._process.wait(DYING)
            self.check_alive()
            tail = f"The end of {self.log}:\n{self.log_tail()}"
            raise ServerError(f"ComfyUI still runs, but the connection broke off: {error}\n{tail}") from error

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=60)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
        finally:
            connection.close()
        return json.loads(answer) if answer else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]


def _progress(data: dict[str, Any], prompt: Prompt) -> Progress:
    node = str(data["node"])
    return Progress(node, prompt.get(node, {}).get("class_type", node), data.get("value", 0), data.get("max", 0))


def _validation_message(answer: dict[str, Any]) -> str:
    node_errors = [
        f"{node['class_type']} (node {key}): {error['message']}: {error['details']}"
        for key, node in (answer.get("node_errors") or {}).items()
        for error in node["errors"]
    ]
    error = answer.get("error", answer)
    general = f"{error.get('message')}: {error.get('details')}" if isinstance(error, dict) else str(error)
    return "\n".join(node_errors) or general


def _ignore(progress: Progress) -> None:
    pass
