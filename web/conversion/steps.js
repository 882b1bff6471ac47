/** The steps and expressions of the table, taken on a graph; the twin of scripts/conversion/steps.py. */

import { isEqual, isLink, isNumber } from "./graph.js";

const NEEDED = ["m_models", "prev_m_models", "motion_model"]; // without these a graph would lose its motion
const LATENT_LINKS = ["samples", "latent", "latents", "latent_image"];
const OTHER_PACKS = /^(ADE|ACN)_/;

/** A node that has no counterpart steers a whole part of the graph, which stays as it is. */
export class Stop extends Error {
  constructor(node, reason) {
    super(reason);
    this.node = node;
    this.reason = reason;
  }
}

export function widgetsOf(rules, kind) {
  return (rules.sources[kind] ?? rules.targets[kind])?.widgets ?? [];
}

export function isOfOtherPack(rules, kind) {
  return kind in rules.sources || kind in rules.stays || OTHER_PACKS.test(kind);
}

export class Steps {
  constructor(graph, rules) {
    Object.assign(this, { graph, rules, notes: [], state: {} });
    this.replaced = new Set();
    this.covered = new Set(); // nodes of which a note tells already
    this.verbs = { follow: (id, name) => this.follow(id, name), keep: (id, values) => this.#keep(id, values) };
    this.expressions = {
      word: (id, word, of) => this.#findWord(id, word, of),
      at_most: (id, limit, of) => this.#findAtMost(id, limit, of),
      before: (id, path) => this.#findBefore(id, path),
      frames: (id, path) => this.#findFrames(id, path),
      frames_of: (id, path) => this.#findFramesOf(id, path),
    };
  }

  rule(id) {
    const rule = this.rules.sources[this.kind(id)] ?? {};
    return rule.cases?.find((each) => this.#comesFrom(id, each.from)) ?? rule;
  }

  kind(id) {
    return this.graph.nodes.get(id).kind;
  }

  /** Return an input of a node: a link, a plain value, or null when nothing is connected. */
  value(id, name) {
    const { inputs, kind } = this.graph.nodes.get(id);
    const widget = widgetsOf(this.rules, kind).find(([each]) => each === name);
    return this.plain(name in inputs ? inputs[name] : (widget?.[1] ?? null));
  }

  /** Return the value of a primitive of the frontend for a link to it; anything else as it is. */
  plain(value) {
    const source = isLink(value) ? this.graph.resolve(value, this.replaced) : null;
    const node = isLink(source) ? this.graph.nodes.get(source[0]) : undefined;
    if (node?.kind !== "PrimitiveNode" || !node.stored.length) return value;
    this.replaced.add(source[0]);
    return node.stored[0];
  }

  /** Return a value that has to be a number; anything else stops the conversion of the part at hand. */
  number(id, value) {
    if (!isNumber(value)) throw new Stop(id, "unreadable");
    return value;
  }

  note(id, input, message, value = null, reason = "") {
    const { title, kind } = this.graph.nodes.get(id);
    const note = { node: id, title: title || kind, input, message, value, reason };
    if (!this.notes.some((other) => isEqual(other, note))) this.notes.push(note);
    this.covered.add(id);
  }

  /** Take the steps of the node that is connected to an input. */
  follow(id, name) {
    const link = this.value(id, name);
    if (!isLink(link)) return;
    const source = this.graph.resolve(link, this.replaced);
    const node = source && this.graph.nodes.get(source[0]);
    if (!node) {
      this.note(id, name, source ? "outside" : "muted");
      return;
    }
    const rule = this.rules.sources[node.kind];
    if (!rule?.steps || (NEEDED.includes(name) && !rule.steps.length)) this.#refuse(source[0], name, rule);
    else this.takeSteps(source[0]);
  }

  takeSteps(id) {
    const rule = this.rule(id);
    if (rule.stops) throw new Stop(id, rule.stops);
    this.replaced.add(id);
    this.noteLost(id);
    for (const step of rule.steps) if (this.#holds(id, step.when)) this.#take(id, step);
  }

  /** Add a node. `on` is the input that continues a chain, such as the MODEL that all steps pass on. */
  add(id, kind, inputs, on) {
    const values = Object.fromEntries(Object.entries(inputs).filter(([, value]) => value != null));
    if (on in this.state) values[on] = this.state[on];
    const link = [this.graph.add(kind, values, id), 0];
    this.state.last = link;
    if (on) this.state[on] = link;
    for (const name of ["context_length", "context_overlap"]) if (name in values) this.state[name] = values[name];
  }

  /** Return what an expression of the table stands for at a node. */
  evaluate(id, expression) {
    if (typeof expression === "string" && expression.startsWith("$")) return this.#read(id, expression.slice(1));
    if (Object(expression) !== expression) return expression;
    if ("state" in expression) return this.state[expression.state] ?? expression.or ?? null;
    const [name, argument] = Object.entries(expression).find(([key]) => key !== "of");
    return this.expressions[name](id, argument, expression.of);
  }

  /** Note the inputs of a node that its replacement does not have, unless they do nothing. */
  noteLost(id) {
    for (const { input, say, unless, above, as, when } of this.rule(id).lost ?? []) {
      const value = this.value(id, input);
      const idle = value == null || (unless ?? [""]).includes(value);
      const small = above !== undefined && isNumber(value) && value <= above;
      const same = as !== undefined && value === this.value(id, as);
      if (idle || small || same || !this.#holds(id, when)) continue;
      this.note(id, input, say, isLink(value) ? "" : value);
      const source = this.graph.resolve(value);
      if (isLink(source)) this.covered.add(source[0]);
    }
  }

  #take(id, step) {
    if (step.add) {
      const values = Object.entries(step.set).map(([name, value]) => [name, this.evaluate(id, value)]);
      this.add(id, step.add, Object.fromEntries(values), "on" in step ? step.on : "model");
      return;
    }
    const [verb, value] = Object.entries(step).find(([name]) => name !== "when");
    this.verbs[verb](id, value);
  }

  #keep(id, values) {
    for (const [name, value] of Object.entries(values)) this.state[name] = this.evaluate(id, value);
  }

  #holds(id, conditions = {}) {
    return Object.entries(conditions).every(([name, values]) => values.includes(this.value(id, name)));
  }

  #read(id, path) {
    const [name, inner] = path.split(".");
    const value = this.value(id, name);
    if (!inner) return value;
    const source = this.graph.resolve(value, this.replaced);
    if (!isLink(source) || !this.graph.nodes.has(source[0])) return null;
    this.takeSteps(source[0]);
    return this.value(source[0], inner);
  }

  #findWord(id, word, of) {
    const value = this.evaluate(id, of);
    const words = this.rules.words[word];
    const said = this.rules.said_of_words[word] ?? {};
    const known = !isLink(value) && value in words;
    const message = known ? said[value] : (said["*"] ?? "no_rule");
    if (message) this.note(id, of.slice(1), message, isLink(value) ? "" : value);
    return words[known ? value : "*"];
  }

  #findAtMost(id, limit, of) {
    const value = this.evaluate(id, of);
    return isLink(value) ? value : Math.min(this.number(id, value), limit);
  }

  /** Return the MODEL before a motion model was applied to it. */
  #findBefore(id, path) {
    const link = this.evaluate(id, path);
    const source = this.graph.resolve(link);
    const node = source && this.graph.nodes.get(source[0]);
    return node && this.rules.sources[node.kind]?.outputs?.includes("@model") ? node.inputs.model : link;
  }

  /** Return the number of frames that a node names, or the only one that the latents of the graph have. */
  #findFrames(id, path) {
    const value = this.evaluate(id, path);
    if (value) return value;
    const sizes = new Set([...this.graph.nodes.values()].map((node) => node.inputs.batch_size).filter(Number.isInteger));
    return this.#guessFrames(id, path.slice(1), sizes.size === 1 ? [...sizes][0] : null);
  }

  /** Return the batch size of a latent, found on the way back to where it was made. */
  #findFramesOf(id, path) {
    let link = this.graph.resolve(this.evaluate(id, path));
    while (isLink(link) && this.graph.nodes.has(link[0])) {
      const { inputs } = this.graph.nodes.get(link[0]);
      if ("batch_size" in inputs) return this.plain(inputs.batch_size);
      link = this.graph.resolve(inputs[LATENT_LINKS.find((name) => name in inputs)]);
    }
    return this.#guessFrames(id, path.slice(1), null);
  }

  #guessFrames(id, name, frames) {
    this.note(id, name, frames ? "frames_guess" : "frames", frames);
    return frames || 16;
  }

  #refuse(id, name, rule) {
    const message = this.rules.stays[this.kind(id)] ?? rule?.stops ?? "no_rule";
    if (NEEDED.includes(name)) throw new Stop(id, message);
    this.note(id, "", message);
  }

  #comesFrom(id, kinds) {
    return Object.entries(kinds).every(([name, wanted]) => {
      const source = this.graph.resolve(this.value(id, name));
      return isLink(source) && wanted.includes(this.graph.nodes.get(source[0])?.kind);
    });
  }
}
