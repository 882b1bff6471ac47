import { app } from "../../scripts/app.js";

const ROOM = [440, 250];

function textWidget(node) {
  const found = node.widgets?.find((widget) => widget.name === "shown_text");
  if (found) return found;
  const { widget } = app.widgets.STRING(node, "shown_text", ["STRING", { multiline: true }], app);
  widget.label = "";
  widget.element.readOnly = true;
  widget.serialize = false;
  widget.options.serialize = false;
  node.setSize([Math.max(node.size[0], ROOM[0]), Math.max(node.size[1], ROOM[1])]);
  return widget;
}

function showText(node, output) {
  if (!output?.text) return;
  textWidget(node).value = output.text.join("\n");
  node.graph?.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "AnimateDiffLoom.ShowText",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Loom") || !nodeData.output_node) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.call(this, output);
      showText(this, output);
    };
  },
});
