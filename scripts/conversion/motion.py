"""Motion models with their LoRAs, strengths and keyframes."""

from typing import Any

from .graph import Graph, is_link, is_number
from .notes import short
from .rules import Rules
from .steps import Steps, Stop

STRONGEST = 10.0
# what AnimateDiff-Evolved calls a strength, its name in old nodes, and our widget and socket for it
STRENGTHS = (
    ("effect", "", "strength", "motion_strength"),
    ("scale", "motion_scale", "attention_scale", "motion_attention_scale"),
)


class MotionSteps(Steps):
    """Steps with two more verbs: `beta` and `apply`."""

    def __init__(self, graph: Graph, rules: Rules):
        super().__init__(graph, rules)
        self.verbs |= {"beta": self.read_beta, "apply": self.apply}

    def read_beta(self, node_id: str, _: Any) -> None:
        """Keep the beta schedule of a node or of the sigma schedule in its settings, which replaces it."""
        settings = self.graph.resolve(self.value(node_id, "sample_settings"))
        if is_link(settings) and settings[0] in self.graph.nodes:
            schedule = self.value(settings[0], "sigma_schedule")
            source = self.graph.resolve(schedule)
            if is_link(source) and self.graph.nodes[source[0]].kind == "ADE_SigmaSchedule":
                self.replaced.add(source[0])
                node_id = source[0]
            elif is_link(schedule):
                self.note(settings[0], "sigma_schedule", "sigma_schedule")
                self.covered.add(source[0])
        self.state["beta"] = node_id

    def apply(self, node_id: str, _: Any) -> None:
        """Add Apply Motion Model, with all that leads to its motion model."""
        for name in ("motion_model", "positions"):
            self.state.pop(name, None)
        if "model_name" in self.graph.nodes[node_id].inputs:
            file = {"motion_model": self.value(node_id, "model_name")}
            self.add(node_id, "LoomLoadMotionModel", file, "motion_model")
        else:
            self.follow(node_id, "motion_model")
        if "motion_model" not in self.state:
            raise Stop(node_id, "no_rule")
        for name in ("motion_lora", "ad_settings"):
            self.follow(node_id, name)
        state = self.state
        names = ("motion_model", "positions", "positions.stretched_frames")
        values = {name: state[name] for name in names if name in state}
        values |= {name: self.value(node_id, name) for name in ("start_percent", "end_percent")}
        values["beta_schedule"] = self._take_beta()
        for strength in STRENGTHS:
            values |= self._read_strength(node_id, *strength)
        self.add(node_id, "LoomApplyMotionModel", values, "model")

    def read_multival(self, node_id: str, name: str) -> dict[str, Any]:
        """Return the inputs of Motion Strength for a multival: `strength`, and what it varies with."""
        source = self.graph.resolve(self.value(node_id, name), self.replaced)
        if not is_link(source):
            return {"strength": 1.0}
        node = self.graph.nodes.get(source[0])
        if node is None or not node.kind.startswith("ADE_Multival") or node.kind == "ADE_MultivalConvertToMask":
            self.note(node_id, name, "multival")
            return {"strength": 1.0}
        self.take_steps(source[0])
        return self._multival_inputs(source[0])

    def _find_number(self, node_id: str, expression: str, _) -> float:
        value = _only_number(self.read_multival(node_id, expression[1:]))
        if value is None:
            raise Stop(node_id, "number")
        return value

    def _take_beta(self) -> str:
        """Return the beta schedule for the first motion model; the others keep it."""
        node_id = self.state.pop("beta", None)
        if node_id is None:
            return "as the model"
        return self.evaluate(node_id, {"word": "beta", "of": "$beta_schedule"})

    def leave_beta(self) -> None:
        """Note a beta schedule that no motion model has taken, unless it changes nothing."""
        node_id = self.state.pop("beta", None)
        value = self.value(node_id, "beta_schedule") if node_id else None
        if node_id and value not in ("autoselect", "use existing"):
            self.note(node_id, "beta_schedule", "beta_alone", value)

    def _multival_inputs(self, node_id: str) -> dict[str, Any]:
        numbers = (self.value(node_id, name) for name in ("float_val", "floats", "max_float_val"))
        number = next((value for value in numbers if value is not None), 1.0)
        mask = self.value(node_id, "mask_optional") or self.value(node_id, "mask")
        values = {"levels": number, "strength": 1.0} if is_link(number) else {"strength": self.number(node_id, number)}
        return values | ({"mask": mask} if mask else {})

    def _read_strength(self, node_id: str, kind: str, old_name: str, widget: str, socket: str) -> dict[str, Any]:
        """Return the values of a strength on Apply Motion Model: a number, and Motion Strength where it varies."""
        varied = self.read_multival(node_id, f"{kind}_multival")
        old_number = self.value(node_id, old_name)
        factor = 1.0 if old_number is None or is_link(old_number) else self.number(node_id, old_number)
        number = varied.pop("strength") * factor
        if number > STRONGEST:
            self.note(node_id, f"{kind}_multival", "too_strong", number)
        varied["sites"] = self._read_blocks(node_id, kind)
        varied["progress_curve"] = self._read_keyframes(node_id, kind)
        varied = {name: value for name, value in varied.items() if value}
        values: dict[str, Any] = {widget: min(number, STRONGEST)}
        if varied:
            values[socket] = [self.graph.add("LoomMotionStrength", varied, node_id), 0]
        return values

    def _read_blocks(self, node_id: str, kind: str) -> str:
        """Return the text of `sites` for values per block."""
        source = self.graph.resolve(self.value(node_id, "per_block"), self.replaced)
        if not is_link(source) or source[0] not in self.graph.nodes:
            return ""
        node = self.graph.nodes[source[0]]
        if node.kind not in self.rules["sources"]:
            self.note(source[0], "", self.rules["stays"].get(node.kind, "no_rule"))
            return ""
        self.take_steps(source[0])
        values = {name: self._block_value(link, kind) for name, link in node.inputs.items() if is_link(link)}
        named = ((name.replace("__", ".").replace("_", "."), value) for name, value in values.items())
        return ", ".join(f"{site}: {short(value)}" for site, value in named if value != 1)

    def _block_value(self, link: Any, kind: str) -> float:
        source = self.graph.resolve(link, self.replaced)
        if not is_link(source) or source[0] not in self.graph.nodes:
            return 1.0
        self.take_steps(source[0])
        pair = self.graph.nodes[source[0]].kind == "ADE_ADBlockIndiv" and kind == "scale"
        names = ("scale_0", "scale_1") if pair else (kind,)
        values = {_only_number(self.read_multival(source[0], name)) for name in names}
        number = values.pop()
        if values or number is None:
            self.note(source[0], kind, "block_value")
            return 1.0
        return min(number, STRONGEST)

    def _read_keyframes(self, node_id: str, kind: str) -> str:
        """Return the text of `progress_curve` for keyframes, each of which holds until the next one."""
        starts: dict[float, float | None] = {0.0: 1.0}
        for keyframe in self._list_keyframes(node_id):
            start, value = self.value(keyframe, "start_percent"), self._keyframe_value(keyframe, kind)
            if not is_number(start):
                self.note(keyframe, "start_percent", "keyframe_value")
                continue
            kept = None if self.value(keyframe, "inherit_missing") else 1.0
            starts[start] = kept if value is None else value
        points, current = [], 1.0
        for start in sorted(starts):
            current = current if starts[start] is None else starts[start]
            points.append((start, current))
        if all(value == 1 for _, value in points):
            return ""
        return ", ".join(f"{short(start)}: {short(min(value, STRONGEST))} hold" for start, value in points)

    def _list_keyframes(self, node_id: str) -> list[str]:
        """Return the chain of keyframes of a motion model, the first one first."""
        chain, name = [], "ad_keyframes"
        while True:
            source = self.graph.resolve(self.value(node_id, name), self.replaced)
            if not is_link(source) or source[0] not in self.graph.nodes:
                return chain[::-1]
            node_id, name = source[0], "prev_ad_keyframes"
            if self.graph.nodes[node_id].kind != "ADE_AnimateDiffKeyframe":
                self.note(node_id, "", "keyframe_value")
                return chain[::-1]
            self.take_steps(node_id)
            chain.append(node_id)

    def _keyframe_value(self, keyframe: str, kind: str) -> float | None:
        name = f"{kind}_multival"
        if self.value(keyframe, name) is None:
            return None
        value = _only_number(self.read_multival(keyframe, name))
        if value is None:
            self.note(keyframe, name, "keyframe_value")
        return value


def _only_number(multival: dict[str, Any]) -> float | None:
    return multival["strength"] if multival.keys() == {"strength"} else None
