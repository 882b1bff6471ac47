import { app } from "../../scripts/app.js";

const NAMED_NODES = ["LoomPromptSchedule"];
const NAME_HEIGHT = 16; // pixels above the text

/** Draw the name of a text box above its text, where the classic renderer has only a placeholder. */
function drawName(box, name) {
  const text = new Text(name);
  const escaped = new XMLSerializer().serializeToString(text);
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="300" height="${NAME_HEIGHT}">
    <text x="6" y="12" font-size="10" font-family="sans-serif" fill="#888">${escaped}</text></svg>`;
  box.style.background = `url("data:image/svg+xml,${encodeURIComponent(picture)}") no-repeat, var(--comfy-input-bg)`;
  box.style.paddingTop = `${NAME_HEIGHT}px`;
}

app.registerExtension({
  name: "animatediffloom.NameBoxes",
  nodeCreated(node) {
    if (!NAMED_NODES.includes(node.comfyClass)) return;
    for (const widget of node.widgets) {
      const box = widget.element;
      if (box instanceof HTMLTextAreaElement) drawName(box, widget.label ?? box.placeholder);
    }
  },
});
