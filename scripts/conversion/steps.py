"""The steps and expressions of the table, taken on a graph."""

from collections.abc import Callable
from typing import Any

from .graph import Graph, is_link, is_number
from .notes import Note
from .rules import Rules, widgets_of

NEEDED = ("m_models", "prev_m_models", "motion_model")  # without these a graph would lose its motion
LATENT_LINKS = ("samples", "latent", "latents", "latent_image")


class Stop(Exception):
    """A node that has no counterpart steers a whole part of the graph, which stays as it is."""

    def __init__(self, node: str, message: str):
        super().__init__(node, message)
        self.node, self.message = node, message


class Steps:
    """Steps on one graph, with `notes` for the user, `replaced` nodes, and the `state` of the part at hand.

    `verbs` are the kinds of steps; each takes the id of a node and the value that the step has for it.
    """

    def __init__(self, graph: Graph, rules: Rules):
        self.graph, self.rules = graph, rules
        self.notes: list[Note] = []
        self.replaced: set[str] = set()
        self.covered: set[str] = set()  # nodes of which a note tells already
        self.state: dict[str, Any] = {}
        self.verbs: dict[str, Callable[[str, Any], None]] = {"follow": self.follow, "keep": self._keep}

    def rule(self, node_id: str) -> dict[str, Any]:
        """Return the rule of a node, or of the case that holds for what is connected to it; empty without one."""
        rule = self.rules["sources"].get(self.kind(node_id), {})
        return next((case for case in rule.get("cases", ()) if self._comes_from(node_id, case["from"])), rule)

    def kind(self, node_id: str) -> str:
        return self.graph.nodes[node_id].kind

    def value(self, node_id: str, name: str) -> Any:
        """Return an input of a node: a link, a plain value, or None when nothing is connected."""
        node = self.graph.nodes[node_id]
        default = {widget[0]: widget[1] for widget in widgets_of(self.rules, node.kind)}.get(name)
        return self.plain(node.inputs.get(name, default))

    def plain(self, value: Any) -> Any:
        """Return the value of a primitive of the frontend for a link to it; anything else as it is."""
        source = self.graph.resolve(value, self.replaced) if is_link(value) else None
        node = self.graph.nodes.get(source[0]) if is_link(source) else None
        if is_link(source) and node and node.kind == "PrimitiveNode" and node.stored:
            self.replaced.add(source[0])
            return node.stored[0]
        return value

    def number(self, node_id: str, value: Any) -> float:
        """Return a value that has to be a number; anything else stops the conversion of the part at hand."""
        if not is_number(value):
            raise Stop(node_id, "unreadable")
        return value

    def note(self, node_id: str, name: str, message: str, value: Any = None, reason: str = "") -> None:
        node = self.graph.nodes[node_id]
        note = Note(node_id, node.title or node.kind, name, message, value, reason)
        if note not in self.notes:
            self.notes.append(note)
        self.covered.add(node_id)

    def follow(self, node_id: str, name: str) -> None:
        """Take the steps of the node that is connected to an input."""
        link = self.value(node_id, name)
        if not is_link(link):
            return
        source = self.graph.resolve(link, self.replaced)
        node = self.graph.nodes.get(source[0]) if source else None
        if node is None:
            self.note(node_id, name, "outside" if source else "muted")
            return
        rule = self.rules["sources"].get(node.kind)
        if rule is None or "steps" not in rule or (name in NEEDED and not rule["steps"]):
            self._refuse(source[0], name, rule)
            return
        self.take_steps(source[0])

    def take_steps(self, node_id: str) -> None:
        rule = self.rule(node_id)
        if "stops" in rule:
            raise Stop(node_id, rule["stops"])
        self.replaced.add(node_id)
        self.note_lost(node_id)
        for step in rule["steps"]:
            if self._holds(node_id, step.get("when", {})):
                self._take(node_id, step)

    def add(self, node_id: str, kind: str, inputs: dict[str, Any], on: str | None) -> None:
        """Add a node. `on` is the input that continues a chain, such as the MODEL that all steps pass on."""
        values = {name: value for name, value in inputs.items() if value is not None}
        if on in self.state:
            values[on] = self.state[on]
        link = [self.graph.add(kind, values, node_id), 0]
        self.state["last"] = link
        if on:
            self.state[on] = link
        self.state |= {name: value for name, value in values.items() if name in ("context_length", "context_overlap")}

    def evaluate(self, node_id: str, expression: Any) -> Any:
        """Return what an expression of the table stands for at a node."""
        if isinstance(expression, str) and expression[:1] == "$":
            return self._read(node_id, expression[1:])
        if not isinstance(expression, dict):
            return expression
        if "state" in expression:
            return self.state.get(expression["state"], expression.get("or"))
        ((name, argument),) = ((key, value) for key, value in expression.items() if key != "of")
        return getattr(self, f"_find_{name}")(node_id, argument, expression.get("of"))

    def note_lost(self, node_id: str) -> None:
        """Note the inputs of a node that its replacement does not have, unless they do nothing."""
        for lost in self.rule(node_id).get("lost", ()):
            value = self.value(node_id, lost["input"])
            idle = value is None or value in lost.get("unless", ()) or (value == "" and "unless" not in lost)
            small = "above" in lost and is_number(value) and value <= lost["above"]
            same = "as" in lost and value == self.value(node_id, lost["as"])
            if not idle and not small and not same and self._holds(node_id, lost.get("when", {})):
                self.note(node_id, lost["input"], lost["say"], "" if is_link(value) else value)
                self._cover(value)

    def _take(self, node_id: str, step: dict[str, Any]) -> None:
        if "add" in step:
            values = {name: self.evaluate(node_id, value) for name, value in step["set"].items()}
            self.add(node_id, step["add"], values, step.get("on", "model"))
            return
        ((verb, value),) = ((name, value) for name, value in step.items() if name != "when")
        self.verbs[verb](node_id, value)

    def _keep(self, node_id: str, values: dict[str, Any]) -> None:
        self.state |= {name: self.evaluate(node_id, value) for name, value in values.items()}

    def _holds(self, node_id: str, conditions: dict[str, list[Any]]) -> bool:
        return all(self.value(node_id, name) in values for name, values in conditions.items())

    def _read(self, node_id: str, path: str) -> Any:
        name, _, inner = path.partition(".")
        value = self.value(node_id, name)
        if not inner:
            return value
        source = self.graph.resolve(value, self.replaced)
        if not is_link(source) or source[0] not in self.graph.nodes:
            return None
        self.take_steps(source[0])
        return self.value(source[0], inner)

    def _find_word(self, node_id: str, word: str, of: str) -> Any:
        value = self.evaluate(node_id, of)
        words, said = self.rules["words"][word], self.rules["said_of_words"].get(word, {})
        if is_link(value) or value not in words:
            self.note(node_id, of[1:], said.get("*", "no_rule"), "" if is_link(value) else value)
            return words["*"]
        if value in said:
            self.note(node_id, of[1:], said[value], value)
        return words[value]

    def _find_at_most(self, node_id: str, limit: float, of: str) -> Any:
        value = self.evaluate(node_id, of)
        return value if is_link(value) else min(self.number(node_id, value), limit)

    def _find_before(self, node_id: str, expression: str, _) -> Any:
        """Return the MODEL before a motion model was applied to it."""
        link = self.evaluate(node_id, expression)
        source = self.graph.resolve(link)
        node = self.graph.nodes.get(source[0]) if source else None
        rule = self.rules["sources"].get(node.kind, {}) if node else {}
        return node.inputs.get("model") if node and "@model" in rule.get("outputs", ()) else link

    def _find_frames(self, node_id: str, expression: str, _) -> Any:
        """Return the number of frames that a node names, or the only one that the latents of the graph have."""
        value = self.evaluate(node_id, expression)
        if is_link(value) or value:
            return value
        sizes = {node.inputs.get("batch_size") for node in self.graph.nodes.values() if _has_size(node.inputs)}
        return self._guess_frames(node_id, expression[1:], sizes.pop() if len(sizes) == 1 else None)

    def _find_frames_of(self, node_id: str, expression: str, _) -> Any:
        """Return the batch size of a latent, found on the way back to where it was made."""
        link = self.graph.resolve(self.evaluate(node_id, expression))
        while is_link(link) and link[0] in self.graph.nodes:
            node = self.graph.nodes[link[0]]
            if "batch_size" in node.inputs:
                return self.plain(node.inputs["batch_size"])
            link = self.graph.resolve(next((node.inputs[name] for name in LATENT_LINKS if name in node.inputs), None))
        return self._guess_frames(node_id, expression[1:], None)

    def _guess_frames(self, node_id: str, name: str, frames: int | None) -> int:
        self.note(node_id, name, "frames_guess" if frames else "frames", frames)
        return frames or 16

    def _refuse(self, node_id: str, name: str, rule: dict[str, Any] | None) -> None:
        kind = self.kind(node_id)
        message = self.rules["stays"].get(kind, (rule or {}).get("stops", "no_rule"))
        if name in NEEDED:
            raise Stop(node_id, message)
        self.note(node_id, "", message)

    def _comes_from(self, node_id: str, kinds: dict[str, list[str]]) -> bool:
        sources = {name: self.graph.resolve(self.value(node_id, name)) for name in kinds}
        ids = {name: source[0] for name, source in sources.items() if is_link(source) and source[0] in self.graph.nodes}
        return all(name in ids and self.kind(ids[name]) in kinds[name] for name in kinds)

    def _cover(self, value: Any) -> None:
        source = self.graph.resolve(value)
        if is_link(source):
            self.covered.add(source[0])


def _has_size(inputs: dict[str, Any]) -> bool:
    return isinstance(inputs.get("batch_size"), int)
