"""The prompt that the host is running: what feeds the node that samples, and which other samplers share its motion.

A wrapper of a sampler sees the steps and the latent of one sampler. Whether motion runs elsewhere in
the prompt, and where the latent comes from, follows from the graph. Outside a server there is none.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_execution.utils import get_executing_context

APPLY_NODE = "LoomApplyMotionModel"
LATENT, IMAGE, MODEL, VAE = "LATENT", "IMAGE", "MODEL", "VAE"
NO_TEXT = "animatediffloom.no_text"  # the event that web/node_text.js waits for
OUTPUTS_TO_EXECUTE = 4  # the place in an item of the host's queue, after number, id, nodes and extra data

MODEL_LINKS = r"MODEL|GUIDER|\*|COMFY_MATCHTYPE_V3|.*PIPE.*"  # types of links that may carry a model


@dataclass(frozen=True)
class RunningPrompt:
    """The `nodes` that the prompt executes, in the form of the API, and the id of the one that is running."""

    nodes: Mapping[str, dict]
    node_id: str

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs of the running node."""
        return self.nodes[self.node_id]["inputs"]

    def sign(self, node_id: str) -> int:
        """Return a number that changes with everything that the result of a node depends on."""
        ancestors = sorted(_list_ancestors(self.nodes, [node_id]))
        parts = [(id, self.nodes[id]["class_type"], self.nodes[id]["inputs"]) for id in ancestors]
        return hash(json.dumps(parts, sort_keys=True, default=str))

    def list_other_samplers(self) -> list[str]:
        """Return the other nodes that sample with a model after the same Apply Motion Model."""
        shared = self._list_applications(self.node_id)
        others = (id for id in self.nodes if id != self.node_id and self._samples(id))
        return [id for id in others if shared & self._list_applications(id)]

    def trace_latent(self, length_inputs: tuple[str, ...]) -> str | None:
        """Return the node that sets the length of the running node's latent, by one of `length_inputs`.

        If there is none, return the node that the latent begins with; None if the running node takes no latent.
        """
        source, visited = self.node_id, {self.node_id}
        while not any(name in self.nodes[source]["inputs"] for name in length_inputs):
            latents = (id for id, kind in self._list_links(source) if kind == LATENT and id not in visited)
            link = next(latents, None)
            if link is None:
                return None if source == self.node_id else source
            source = link
            visited.add(source)
        return source

    @property
    def returns_latent(self) -> bool:
        """Return whether the running node has an output for latents."""
        return LATENT in _list_output_types(self.nodes[self.node_id])

    def name(self, node_id: str) -> str:
        """Return the name that users see on a node."""
        class_type = self.nodes[node_id]["class_type"]
        return getattr(sys.modules.get("nodes"), "NODE_DISPLAY_NAME_MAPPINGS", {}).get(class_type, class_type)

    def find_value(self, name: str) -> Any:
        """Return the value of an input of the running node, or of the nearest node before it that has that input."""
        inputs_by_distance = (self.nodes[id]["inputs"] for id in _list_ancestors(self.nodes, [self.node_id]))
        return next((inputs[name] for inputs in inputs_by_distance if not isinstance(inputs.get(name, []), list)), None)

    def find_decoding_vae(self) -> str | None:
        """Return the file of a Load VAE node that decodes what the running node returns, None where there is none."""
        for node in self.nodes.values():
            links = {kind: source for source, kind in self._list_node_links(node)}
            vae = self.nodes.get(links.get(VAE, ""), {}).get("inputs", {}).get("vae_name")
            if isinstance(vae, str) and links.get(LATENT) == self.node_id:
                return vae
        return None

    def show(self, text: str) -> None:
        """Show `text` on every Apply Motion Model whose motion the running node samples; none removes the last one."""
        server = _find_server()
        for node_id in self._list_applications(self.node_id) if server else ():
            if text:
                server.send_progress_text(text, node_id, server.client_id)
            else:
                server.send_sync(NO_TEXT, {"node_id": node_id}, server.client_id)

    def show_here(self, text: str) -> None:
        """Show `text` on the running node."""
        server = _find_server()
        if server:
            server.send_progress_text(text, self.node_id, server.client_id)

    def _samples(self, node_id: str) -> bool:
        kinds = _list_output_types(self.nodes[node_id])
        return LATENT in kinds or (IMAGE in kinds and MODEL not in kinds)

    def _list_applications(self, node_id: str) -> set[str]:
        """Return the Apply Motion Model nodes that the model of a node comes through."""
        reached = _follow([node_id], self._list_model_sources)
        return {id for id in reached if self.nodes[id]["class_type"] == APPLY_NODE}

    def _list_model_sources(self, node_id: str) -> Iterator[str]:
        return (source for source, kind in self._list_links(node_id) if re.fullmatch(MODEL_LINKS, kind))

    def _list_links(self, node_id: str) -> Iterator[tuple[str, str]]:
        """Yield the node and the type of each linked input; the type is empty where the host has no such output."""
        yield from self._list_node_links(self.nodes[node_id])

    def _list_node_links(self, node: dict) -> Iterator[tuple[str, str]]:
        for source, slot in _list_linked(self.nodes, node):
            kinds = _list_output_types(self.nodes[source])
            yield source, kinds[slot] if slot < len(kinds) else ""


def find_running_prompt() -> RunningPrompt | None:
    """Return the prompt whose node is running now, None outside a server or in a node that another one creates."""
    context = get_executing_context()
    server = _find_server()
    if context is None or server is None:
        return None
    for item in server.prompt_queue.get_current_queue_volatile()[0]:
        if item[1] == context.prompt_id and context.node_id in item[2]:
            executed = _list_ancestors(item[2], item[OUTPUTS_TO_EXECUTE])
            return RunningPrompt({id: item[2][id] for id in {*executed, context.node_id}}, context.node_id)
    return None


def _find_server() -> Any:
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def _list_ancestors(nodes: Mapping[str, dict], ids: list[str]) -> list[str]:
    """Return `ids` and the nodes that they depend on, the nearest first."""
    return _follow(ids, lambda node_id: (source for source, _ in _list_linked(nodes, nodes[node_id])))


def _follow(ids: Iterable[str], list_sources: Callable[[str], Iterable[str]]) -> list[str]:
    """Return `ids` and all nodes that are reached from them by `list_sources`, the nearest first."""
    reached = dict.fromkeys(ids)
    waiting = list(reached)
    for node_id in waiting:  # grows while it is read
        new = [source for source in dict.fromkeys(list_sources(node_id)) if source not in reached]
        reached |= dict.fromkeys(new)
        waiting += new
    return waiting


def _list_linked(nodes: Mapping[str, dict], node: dict) -> Iterator[tuple[str, int]]:
    for value in node["inputs"].values():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in nodes:
            yield value[0], value[1]


def _list_output_types(node: dict) -> list[str]:
    classes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
    return [str(kind) for kind in getattr(classes.get(node["class_type"]), "RETURN_TYPES", ())]
