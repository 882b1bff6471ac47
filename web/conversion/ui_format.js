/** Workflows in UI format: nodes with positions, links with numbers, subgraphs. Twin of scripts/conversion/ui_format.py. */

import { Converter } from "./converter.js";
import { Graph, isLink, MUTED } from "./graph.js";
import { corner, place } from "./placing.js";
import { widgetsOf } from "./steps.js";

const OUTPUTS = "-20"; // the node that stands for the outputs of a subgraph
const LINK_PARTS = ["id", "origin_id", "origin_slot", "target_id", "target_slot", "type"];

/** Return a converted copy and the notes about it. Nodes that nothing needs any more stay, but are muted. */
export function convertWorkflow(original, rules) {
  const workflow = structuredClone(original);
  const parts = [workflow, ...(workflow.definitions?.subgraphs ?? [])];
  const ids = parts.flatMap((part) => part.nodes.map((node) => Number(node.id)));
  let nextId = Math.max(0, workflow.last_node_id ?? 0, ...ids) + 1;
  const notes = [];
  for (const part of parts) {
    const converter = new Converter(readGraph(part, rules, nextId), rules);
    converter.run();
    for (const id of converter.dead()) converter.graph.nodes.get(id).mode = MUTED;
    writeGraph(part, converter.graph, rules);
    notes.push(...converter.notes);
    nextId = converter.graph.nextId;
  }
  workflow.last_node_id = nextId - 1;
  return { workflow, notes };
}

function asList(link) {
  return Array.isArray(link) ? link : LINK_PARTS.map((name) => link[name]);
}

function readGraph(part, rules, nextId) {
  const links = part.links.map(asList);
  const origins = new Map(links.map(([id, origin, slot]) => [id, [String(origin), slot]]));
  const nodes = new Map(part.nodes.map((node) => [String(node.id), readNode(node, origins, rules)]));
  const ends = links.filter(([, , , target]) => String(target) === OUTPUTS);
  const inputs = Object.fromEntries(ends.map(([id, , , , slot]) => [`#${slot}`, origins.get(id)]));
  const blank = { kind: "", title: "", mode: 0, near: "", inputTypes: {}, outputTypes: [], stored: [] };
  if (ends.length) nodes.set(OUTPUTS, { ...blank, inputs });
  return new Graph(nodes, nextId);
}

function readNode(node, origins, rules) {
  const slots = node.inputs ?? [];
  const stored = node.widgets_values ?? [];
  const links = slots.filter((slot) => origins.has(slot.link)).map((slot) => [slot.name, origins.get(slot.link)]);
  return {
    kind: node.type,
    inputs: { ...nameWidgets(node.type, stored, rules), ...Object.fromEntries(links) },
    title: node.title ?? "",
    mode: node.mode ?? 0,
    near: "",
    inputTypes: Object.fromEntries(slots.map((slot) => [slot.name, slot.type])),
    outputTypes: (node.outputs ?? []).map((slot) => slot.type),
    stored: Array.isArray(stored) ? stored : [],
  };
}

function nameWidgets(kind, stored, rules) {
  const widgets = widgetsOf(rules, kind);
  if (!Array.isArray(stored)) {
    return Object.fromEntries(widgets.filter(([name]) => name in stored).map(([name]) => [name, stored[name]]));
  }
  const older = rules.sources[kind]?.older;
  if (older && stored.length > widgets.length) {
    return Object.fromEntries(older.slice(0, stored.length).map((name, place) => [name, stored[place]]));
  }
  return nameValues(widgets, [...stored]);
}

/** Take values from the start of `stored` for widgets, and for those of the options that they choose. */
function nameValues(widgets, stored, prefix = "") {
  const named = {};
  for (const [name, , options] of widgets) {
    if (!stored.length) break;
    const value = stored.shift();
    named[prefix + name] = value;
    if (options && value in options) Object.assign(named, nameValues(options[value], stored, `${prefix}${name}.`));
  }
  return named;
}

/** Return the values of all widgets of a new node by name, in order, those of the chosen option included. */
function fillWidgets(widgets, inputs, prefix = "") {
  const filled = {};
  for (const [name, fallback, options] of widgets) {
    const value = inputs[prefix + name] ?? fallback;
    filled[prefix + name] = isLink(value) ? fallback : value;
    if (options) Object.assign(filled, fillWidgets(options[filled[prefix + name]], inputs, `${prefix}${name}.`));
  }
  return filled;
}

function writeGraph(part, graph, rules) {
  const corners = new Map(part.nodes.map((node) => [String(node.id), corner(node)]));
  part.nodes = part.nodes.filter((node) => graph.nodes.has(String(node.id)));
  for (const node of part.nodes) node.mode = graph.nodes.get(String(node.id)).mode;
  const fresh = [...graph.nodes].filter(([, node]) => node.near);
  part.nodes.push(...fresh.map(([id, node]) => newNode(Number(id), node, rules)));
  place(part.nodes, new Map(fresh.map(([id, node]) => [Number(id), corners.get(node.near)])));
  writeLinks(part, graph);
}

function newNode(id, node, rules) {
  const schema = rules.targets[node.kind];
  const widgets = fillWidgets(schema.widgets, node.inputs);
  const slots = schema.inputs.map(([name, type, optional]) => ({ name, type, link: null, ...(optional && { shape: 7 }) }));
  const linked = Object.keys(node.inputs).filter((name) => isLink(node.inputs[name]) && name in widgets);
  const rows = Math.max(slots.length, schema.outputs.length) + 1.4 * Object.keys(widgets).length;
  return {
    id,
    type: node.kind,
    pos: [0, 0],
    size: [360, Math.round(40 + 22 * rows) + ("text" in widgets ? 160 : 0)],
    flags: {},
    order: 0,
    mode: node.mode,
    inputs: [...slots, ...linked.map((name) => ({ name, type: "*", link: null, widget: { name } }))],
    outputs: schema.outputs.map(([name, type]) => ({ name, type, links: null })),
    properties: { "Node name for S&R": node.kind },
    widgets_values: Object.values(widgets),
  };
}

/** Rewrite the links; one that goes to the same input keeps its number. */
function writeLinks(part, graph) {
  const former = new Map(part.links.map(asList).map((link) => [`${link[3]} ${link[4]}`, link]));
  let number = Math.max(part.last_link_id ?? 0, ...[...former.values()].map((link) => link[0]));
  const outputs = new Map(part.nodes.map((node) => [String(node.id), node.outputs ?? []]));
  const links = [];
  for (const [target, slot, name] of listSlots(part, graph)) {
    const origin = graph.nodes.get(target).inputs[name];
    if (!isLink(origin)) continue;
    const before = former.get(`${target} ${slot}`);
    const type = outputs.get(origin[0])?.[origin[1]]?.type ?? before?.[5] ?? "*";
    links.push([before?.[0] ?? ++number, Number(origin[0]), origin[1], Number(target), slot, type]);
  }
  connect(part, links);
  const asObjects = part.links.length > 0 && !Array.isArray(part.links[0]);
  const toObject = (link) => Object.fromEntries(LINK_PARTS.map((name, place) => [name, link[place]]));
  part.links = asObjects ? links.map(toObject) : links;
  if ("last_link_id" in part) part.last_link_id = number;
  forgetLinks(part.extra ?? {}, new Set(links.map((link) => link[0])));
}

function listSlots(part, graph) {
  const slots = part.nodes.flatMap((node) => (node.inputs ?? []).map((slot, place) => [String(node.id), place, slot.name]));
  const ends = Object.keys(graph.nodes.get(OUTPUTS)?.inputs ?? {});
  return [...slots, ...ends.map((name) => [OUTPUTS, Number(name.slice(1)), name])];
}

/** Write the numbers of links to the inputs and outputs that they join. */
function connect(part, links) {
  const ends = new Map(links.map((link) => [`${link[3]} ${link[4]}`, link]));
  const numbers = (side, id, slot) => links.filter((link) => link[side] === id && link[side + 1] === slot).map(([each]) => each);
  for (const node of part.nodes) {
    for (const [place, slot] of (node.inputs ?? []).entries()) {
      const link = ends.get(`${node.id} ${place}`);
      slot.link = link?.[0] ?? null;
      if (link && slot.type === "*" && slot.widget) slot.type = link[5];
    }
    for (const [place, slot] of (node.outputs ?? []).entries()) {
      const leaving = numbers(1, node.id, place);
      slot.links = leaving.length ? leaving : null;
    }
  }
  if (!part.inputNode) return;
  for (const [place, slot] of (part.inputs ?? []).entries()) slot.linkIds = numbers(1, -10, place);
  for (const [place, slot] of (part.outputs ?? []).entries()) slot.linkIds = numbers(3, -20, place);
}

/** Take links that are gone out of the bends that were drawn in them. */
function forgetLinks(extra, numbers) {
  if (extra.linkExtensions) extra.linkExtensions = extra.linkExtensions.filter((entry) => numbers.has(entry.id));
  for (const bend of extra.reroutes ?? []) bend.linkIds = (bend.linkIds ?? []).filter((each) => numbers.has(each));
  if (extra.reroutes) extra.reroutes = extra.reroutes.filter((bend) => bend.linkIds.length);
}
