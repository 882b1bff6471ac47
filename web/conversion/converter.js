/** Convert a graph: every part that starts at a node with an output of its own, then what is left. */

import { MotionSteps, short } from "./motion.js";
import { isOfOtherPack, Stop } from "./steps.js";

export class Converter extends MotionSteps {
  /** Convert the graph in place. */
  run() {
    const roots = [...this.graph.nodes].filter(([, node]) => this.rules.sources[node.kind]?.outputs).map(([id]) => id);
    const isUnload = (id) => this.kind(id) === "ADE_AnimateDiffUnload";
    for (const id of [...roots.filter(isUnload), ...roots.filter((each) => !isUnload(each))]) this.#convert(id);
    this.#removeReplaced();
    this.#noteRest();
  }

  /** Return nodes of other packs that nothing needs any more, so that a server need not know them. */
  dead() {
    const dead = new Set();
    const others = [...this.graph.nodes].filter(([, node]) => !node.near && isOfOtherPack(this.rules, node.kind));
    const isIdle = ([id]) => !dead.has(id) && this.graph.consumers(id).every((each) => dead.has(each));
    for (let idle = others.filter(isIdle); idle.length; idle = others.filter(isIdle)) for (const [id] of idle) dead.add(id);
    return dead;
  }

  #convert(root) {
    const { graph, replaced, notes, covered } = this;
    const before = structuredClone({ nodes: graph.nodes, nextId: graph.nextId, replaced, notes, covered });
    graph.mode = graph.nodes.get(root).mode;
    this.state = {};
    if ("model" in graph.nodes.get(root).inputs) this.state.model = graph.nodes.get(root).inputs.model;
    try {
      this.takeSteps(root);
      this.leaveBeta();
      const targets = this.rule(root).outputs.map((target) => this.#output(root, target));
      targets.forEach((target, slot) => graph.redirect([root, slot], target));
    } catch (error) {
      const stop = error instanceof Stop ? error : new Stop(root, "unreadable"); // one odd node never blocks the rest
      const { nodes, nextId, ...rest } = before;
      Object.assign(graph, { nodes, nextId });
      Object.assign(this, rest);
      this.covered.add(stop.node);
      this.note(root, "", "stopped", null, stop.reason);
    }
  }

  #output(root, target) {
    if (target === "@model") return this.state.model;
    return Number.isInteger(target) ? [this.state.last[0], target] : this.evaluate(root, target);
  }

  /** Remove the replaced nodes that nothing takes anything from any more. */
  #removeReplaced() {
    const isIdle = (id) => this.graph.nodes.has(id) && !this.graph.consumers(id).length;
    for (let idle = [...this.replaced].filter(isIdle); idle.length; idle = [...this.replaced].filter(isIdle)) {
      for (const id of idle) this.graph.nodes.delete(id);
    }
  }

  /** Note the nodes that have no rule and of which no note tells yet. */
  #noteRest() {
    for (const [id, { kind }] of this.graph.nodes) {
      if (!isOfOtherPack(this.rules, kind) || kind in this.rules.sources || this.covered.has(id)) continue;
      this.note(id, "", this.rules.stays[kind] ?? "stays");
    }
  }
}

/** Return the line of a note for a user. */
export function noteText({ node, title, input, message, value, reason }, rules, language) {
  const sentence = reason ? rules.messages[reason][language] : "";
  const shown = typeof value === "number" && !Number.isInteger(value) ? short(value) : String(value);
  const text = rules.messages[message][language]
    .replace("{value}", () => shown)
    .replace("{reason}", () => sentence.charAt(0).toUpperCase() + sentence.slice(1));
  return `${title} (${node})${input ? `, ${input}` : ""}: ${text}`;
}
