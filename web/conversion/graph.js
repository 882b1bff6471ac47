/** A workflow as nodes with named inputs; the twin of scripts/conversion/graph.py. */

export const MUTED = 2;
const BYPASSED = 4;
const PASS_THROUGH = ["Reroute", "SetNode", "GetNode"]; // nodes of the frontend and of KJNodes that only carry a link

/** Return whether a value is a link, [id of a node, number of its output]. */
export function isLink(value) {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && Number.isInteger(value[1]);
}

export function isNumber(value) {
  return typeof value === "number";
}

/** Return whether two values of inputs, or two sets of inputs, are the same in any order. */
export function isEqual(one, other) {
  if (Object(one) !== one || Object(other) !== other) return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => isEqual(one[name], other[name]));
}

export class Graph {
  /** `nodes` is a Map from id to {kind, inputs, title, mode, near, inputTypes, outputTypes, stored}. */
  constructor(nodes, nextId) {
    this.nodes = nodes;
    this.nextId = nextId;
    this.mode = 0; // of new nodes
  }

  /** Add a node and return its id, or that of a new node with the same inputs and mode. */
  add(kind, inputs, near) {
    const { mode } = this;
    for (const [name, node] of this.nodes) {
      if (node.near && node.kind === kind && node.mode === mode && isEqual(node.inputs, inputs)) return name;
    }
    const name = String(this.nextId++);
    this.nodes.set(name, { kind, inputs, title: "", mode, near, inputTypes: {}, outputTypes: [], stored: [] });
    return name;
  }

  /** Connect everything that a link fed to `target`, or to nothing when it is null. */
  redirect(link, target) {
    for (const { inputs } of this.nodes.values()) {
      for (const name of Object.keys(inputs).filter((each) => isEqual(inputs[each], link))) {
        if (target == null) delete inputs[name];
        else inputs[name] = target;
      }
    }
  }

  /** Return the ids of the nodes that take something from a node. */
  consumers(id) {
    const source = this.nodes.get(id);
    const takes = (node) => Object.values(node.inputs).some((value) => isLink(value) && value[0] === id);
    const gets = (node) => source.kind === "SetNode" && node.kind === "GetNode" && node.stored[0] === source.stored[0];
    return [...this.nodes].filter(([, node]) => takes(node) || gets(node)).map(([name]) => name);
  }

  /** Return where a link starts, past reroutes and bypassed nodes, which `passed` collects; null for nowhere. */
  resolve(link, passed = new Set()) {
    for (let count = 0; count <= this.nodes.size; count++) {
      const node = isLink(link) ? this.nodes.get(link[0]) : undefined;
      if (!node) return link ?? null;
      if (!PASS_THROUGH.includes(node.kind) && node.mode !== MUTED && node.mode !== BYPASSED) return link;
      passed.add(link[0]);
      link = node.mode === MUTED ? null : this.#before(node, link[1]);
    }
    return null;
  }

  #before(node, slot) {
    if (node.kind === "GetNode") {
      const isSource = ([, other]) => other.kind === "SetNode" && other.stored[0] === node.stored[0];
      const source = [...this.nodes].find(isSource);
      return source ? [source[0], 0] : null;
    }
    const links = Object.entries(node.inputs).filter(([, value]) => isLink(value));
    const fits = ([name]) => PASS_THROUGH.includes(node.kind) || node.inputTypes[name] === node.outputTypes[slot];
    return links.find(fits)?.[1] ?? null;
  }
}
