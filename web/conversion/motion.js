/** Motion models with their LoRAs, strengths and keyframes; the twin of scripts/conversion/motion.py. */

import { isLink, isNumber } from "./graph.js";
import { Steps, Stop } from "./steps.js";

const STRONGEST = 10;
// what AnimateDiff-Evolved calls a strength, its name in old nodes, and our widget and socket for it
const STRENGTHS = [
  ["effect", "", "strength", "motion_strength"],
  ["scale", "motion_scale", "attention_scale", "motion_attention_scale"],
];

/** Return a number as text of up to 6 digits, without an exponent. */
export function short(number) {
  const rounded = Number(number.toPrecision(6)) + 0; // + 0 turns -0 into 0
  return rounded.toLocaleString("en-US", { useGrouping: false, maximumSignificantDigits: 6 });
}

function onlyNumber(multival) {
  return Object.keys(multival).length === 1 ? multival.strength : null;
}

export class MotionSteps extends Steps {
  constructor(graph, rules) {
    super(graph, rules);
    this.verbs.beta = (id) => this.#readBeta(id);
    this.verbs.apply = (id) => this.#apply(id);
    this.expressions.number = (id, path) => this.#findNumber(id, path);
  }

  /** Note a beta schedule that no motion model has taken, unless it changes nothing. */
  leaveBeta() {
    const id = this.state.beta;
    const value = id && this.value(id, "beta_schedule");
    if (id && !["autoselect", "use existing"].includes(value)) this.note(id, "beta_schedule", "beta_alone", value);
    delete this.state.beta;
  }

  /** Keep the beta schedule of a node or of the sigma schedule in its settings, which replaces it. */
  #readBeta(id) {
    const settings = this.graph.resolve(this.value(id, "sample_settings"));
    if (isLink(settings) && this.graph.nodes.has(settings[0])) {
      const schedule = this.value(settings[0], "sigma_schedule");
      const source = this.graph.resolve(schedule);
      if (isLink(source) && this.graph.nodes.get(source[0])?.kind === "ADE_SigmaSchedule") {
        this.replaced.add(source[0]);
        id = source[0];
      } else if (isLink(source)) {
        this.note(settings[0], "sigma_schedule", "sigma_schedule");
        this.covered.add(source[0]);
      }
    }
    this.state.beta = id;
  }

  /** Add Apply Motion Model, with all that leads to its motion model. */
  #apply(id) {
    delete this.state.motion_model;
    delete this.state.positions;
    if ("model_name" in this.graph.nodes.get(id).inputs) {
      this.add(id, "LoomLoadMotionModel", { motion_model: this.value(id, "model_name") }, "motion_model");
    } else {
      this.follow(id, "motion_model");
    }
    if (!("motion_model" in this.state)) throw new Stop(id, "no_rule");
    for (const name of ["motion_lora", "ad_settings"]) this.follow(id, name);
    const values = {};
    for (const name of ["motion_model", "positions", "positions.stretched_frames"]) values[name] = this.state[name];
    for (const name of ["start_percent", "end_percent"]) values[name] = this.value(id, name);
    values.beta_schedule = this.#takeBeta();
    for (const strength of STRENGTHS) Object.assign(values, this.#readStrength(id, ...strength));
    this.add(id, "LoomApplyMotionModel", values, "model");
  }

  /** Return the inputs of Motion Strength for a multival: `strength`, and what it varies with. */
  #readMultival(id, name) {
    const source = this.graph.resolve(this.value(id, name), this.replaced);
    if (!isLink(source)) return { strength: 1 };
    const kind = this.graph.nodes.get(source[0])?.kind ?? "";
    if (!kind.startsWith("ADE_Multival") || kind === "ADE_MultivalConvertToMask") {
      this.note(id, name, "multival");
      return { strength: 1 };
    }
    this.takeSteps(source[0]);
    return this.#multivalInputs(source[0]);
  }

  #multivalInputs(id) {
    const names = ["float_val", "floats", "max_float_val"];
    const number = names.map((name) => this.value(id, name)).find((value) => value != null) ?? 1;
    const mask = this.value(id, "mask_optional") ?? this.value(id, "mask");
    return { ...(isLink(number) ? { levels: number, strength: 1 } : { strength: this.number(id, number) }), ...(mask ? { mask } : {}) };
  }

  #findNumber(id, path) {
    const number = onlyNumber(this.#readMultival(id, path.slice(1)));
    if (number == null) throw new Stop(id, "number");
    return number;
  }

  /** Return the beta schedule for the first motion model; the others keep it. */
  #takeBeta() {
    const id = this.state.beta;
    delete this.state.beta;
    return id ? this.evaluate(id, { word: "beta", of: "$beta_schedule" }) : "as the model";
  }

  /** Return the values of a strength on Apply Motion Model: a number, and Motion Strength where it varies. */
  #readStrength(id, kind, oldName, widget, socket) {
    const { strength, ...varied } = this.#readMultival(id, `${kind}_multival`);
    const oldNumber = this.value(id, oldName);
    const number = strength * (oldNumber == null || isLink(oldNumber) ? 1 : this.number(id, oldNumber));
    if (number > STRONGEST) this.note(id, `${kind}_multival`, "too_strong", number);
    varied.sites = this.#readBlocks(id, kind);
    varied.progress_curve = this.#readKeyframes(id, kind);
    const entries = Object.entries(varied).filter(([, value]) => value);
    const values = { [widget]: Math.min(number, STRONGEST) };
    if (entries.length) values[socket] = [this.graph.add("LoomMotionStrength", Object.fromEntries(entries), id), 0];
    return values;
  }

  /** Return the text of `sites` for values per block. */
  #readBlocks(id, kind) {
    const source = this.graph.resolve(this.value(id, "per_block"), this.replaced);
    const node = isLink(source) && this.graph.nodes.get(source[0]);
    if (!node) return "";
    if (!(node.kind in this.rules.sources)) {
      this.note(source[0], "", this.rules.stays[node.kind] ?? "no_rule");
      return "";
    }
    this.takeSteps(source[0]);
    const links = Object.entries(node.inputs).filter(([, link]) => isLink(link));
    const values = links.map(([name, link]) => [name, this.#blockValue(link, kind)]).filter(([, value]) => value !== 1);
    return values.map(([name, value]) => `${name.replaceAll("__", ".").replaceAll("_", ".")}: ${short(value)}`).join(", ");
  }

  #blockValue(link, kind) {
    const source = this.graph.resolve(link, this.replaced);
    if (!isLink(source) || !this.graph.nodes.has(source[0])) return 1;
    this.takeSteps(source[0]);
    const pair = this.kind(source[0]) === "ADE_ADBlockIndiv" && kind === "scale";
    const names = pair ? ["scale_0", "scale_1"] : [kind];
    const numbers = new Set(names.map((name) => onlyNumber(this.#readMultival(source[0], name))));
    const [number] = numbers;
    if (numbers.size === 1 && number != null) return Math.min(number, STRONGEST);
    this.note(source[0], kind, "block_value");
    return 1;
  }

  /** Return the text of `progress_curve` for keyframes, each of which holds until the next one. */
  #readKeyframes(id, kind) {
    const starts = new Map([[0, 1]]);
    for (const keyframe of this.#listKeyframes(id)) {
      const kept = this.value(keyframe, "inherit_missing") ? null : 1;
      const [start, value] = [this.value(keyframe, "start_percent"), this.#keyframeValue(keyframe, kind)];
      if (isNumber(start)) starts.set(start, value ?? kept);
      else this.note(keyframe, "start_percent", "keyframe_value");
    }
    let current = 1;
    const points = [...starts].sort(([one], [other]) => one - other).map(([start, value]) => [start, (current = value ?? current)]);
    if (points.every(([, value]) => value === 1)) return "";
    return points.map(([start, value]) => `${short(start)}: ${short(Math.min(value, STRONGEST))} hold`).join(", ");
  }

  /** Return the chain of keyframes of a motion model, the first one first. */
  #listKeyframes(id) {
    const chain = [];
    for (let name = "ad_keyframes"; ; name = "prev_ad_keyframes") {
      const source = this.graph.resolve(this.value(id, name), this.replaced);
      if (!isLink(source) || !this.graph.nodes.has(source[0])) return chain;
      id = source[0];
      if (this.kind(id) !== "ADE_AnimateDiffKeyframe") {
        this.note(id, "", "keyframe_value");
        return chain;
      }
      this.takeSteps(id);
      chain.unshift(id);
    }
  }

  #keyframeValue(keyframe, kind) {
    const name = `${kind}_multival`;
    if (this.value(keyframe, name) == null) return null;
    const number = onlyNumber(this.#readMultival(keyframe, name));
    if (number == null) this.note(keyframe, name, "keyframe_value");
    return number;
  }
}
