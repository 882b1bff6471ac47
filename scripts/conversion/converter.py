"""Convert a graph: every part that starts at a node with an output of its own, then what is left."""

from copy import deepcopy
from typing import Any

from .motion import MotionSteps
from .rules import is_of_other_pack
from .steps import Stop


class Converter(MotionSteps):
    """The conversion of one graph in place; `notes` tell what could not be carried over."""

    def run(self) -> None:
        """Convert the graph in place."""
        sources = self.rules["sources"]
        roots = [name for name, node in self.graph.nodes.items() if "outputs" in sources.get(node.kind, {})]
        for name in sorted(roots, key=lambda root: self.graph.nodes[root].kind != "ADE_AnimateDiffUnload"):
            self._convert(name)
        self._remove_replaced()
        self._note_rest()

    def _convert(self, root: str) -> None:
        before = deepcopy((self.graph, self.replaced, self.notes, self.covered))
        self.graph.mode = self.graph.nodes[root].mode
        self.state = {"model": self.graph.nodes[root].inputs.get("model")}
        try:
            self.take_steps(root)
            self.leave_beta()
            targets = [self._output(root, target) for target in self.rule(root)["outputs"]]
        except Exception as error:  # one odd node never blocks the rest of the graph
            stop = error if isinstance(error, Stop) else Stop(root, "unreadable")
            graph, self.replaced, self.notes, self.covered = before
            self.graph.nodes, self.graph.next_id = graph.nodes, graph.next_id
            self.covered.add(stop.node)
            self.note(root, "", "stopped", reason=stop.message)
            return
        for slot, target in enumerate(targets):
            self.graph.redirect([root, slot], target)

    def _output(self, root: str, target: Any) -> Any:
        if target == "@model":
            return self.state["model"]
        return [self.state["last"][0], target] if isinstance(target, int) else self.evaluate(root, target)

    def _remove_replaced(self) -> None:
        """Remove the replaced nodes that nothing takes anything from any more."""
        while idle := [name for name in self.replaced & self.graph.nodes.keys() if not any(self.graph.consumers(name))]:
            for name in idle:
                del self.graph.nodes[name]

    def _note_rest(self) -> None:
        """Note the nodes that have no rule and of which no note tells yet."""
        for name, node in list(self.graph.nodes.items()):
            unknown = is_of_other_pack(self.rules, node.kind) and node.kind not in self.rules["sources"]
            if unknown and name not in self.covered:
                self.note(name, "", self.rules["stays"].get(node.kind, "stays"))

    def dead(self) -> set[str]:
        """Return nodes of other packs that nothing needs any more, so that a server need not know them."""
        dead: set[str] = set()
        kinds = {name: node.kind for name, node in self.graph.nodes.items() if not node.near}
        while idle := {
            name
            for name, kind in kinds.items()
            if name not in dead and is_of_other_pack(self.rules, kind) and set(self.graph.consumers(name)) <= dead
        }:
            dead |= idle
        return dead
