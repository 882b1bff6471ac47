/** Places for new nodes in the picture of a graph; the twin of scripts/conversion/placing.py. */

const TITLE = 30; // pixels above a node
const GAP = 20; // pixels between two nodes
const DEFAULT_SIZE = [220, 100];

/** Put each new node at its corner, or below everything that stands there already. */
export function place(nodes, corners) {
  const placed = nodes.filter((node) => !corners.has(node.id));
  for (const node of nodes.filter((each) => corners.has(each.id))) {
    node.pos = [...corners.get(node.id)];
    const findBlockers = () => placed.filter((other) => overlap(node, other));
    for (let blockers = findBlockers(); blockers.length; blockers = findBlockers()) {
      node.pos[1] = Math.max(...blockers.map((other) => corner(other)[1] + sizeOf(other)[1])) + TITLE + GAP;
    }
    placed.push(node);
  }
}

/** Return the position of a node, which old workflows store by number. */
export function corner(node) {
  const pos = node.pos ?? [0, 0];
  return [pos[0], pos[1]];
}

function sizeOf(node) {
  const size = node.size ?? DEFAULT_SIZE;
  return [size[0], node.flags?.collapsed ? 0 : size[1]];
}

function overlap(node, other) {
  const [[x, y], [otherX, otherY]] = [corner(node), corner(other)];
  const [[width, height], [otherWidth, otherHeight]] = [sizeOf(node), sizeOf(other)];
  const beside = x + width <= otherX || otherX + otherWidth <= x;
  return !beside && y - TITLE < otherY + otherHeight && otherY - TITLE < y + height;
}
