import { app } from "../../scripts/app.js";

const TEXT_NODES = ["LoomMotionModelInfo"];
const SIZES = {
  LoomMotionModelInfo: [440, 330],
  LoomContextPreview: [520, 420],
  LoomShowReport: [480, 680],
};

function addTextWidget(node) {
  const { widget } = app.widgets.STRING(node, "shown_text", ["STRING", { multiline: true }], app);
  widget.element.readOnly = true;
  widget.element.placeholder = "";
  widget.serialize = false;
  widget.options.serialize = false;
}

function showText(node, output) {
  const widget = node.widgets.find((found) => found.name === "shown_text");
  widget.value = output.text.join("\n");
}

function extend(nodeType, method, addition) {
  const original = nodeType.prototype[method];
  nodeType.prototype[method] = function (...values) {
    original?.apply(this, values);
    addition(this, ...values);
  };
}

app.registerExtension({
  name: "animatediffloom.ShowText",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (TEXT_NODES.includes(nodeData.name)) {
      extend(nodeType, "onNodeCreated", addTextWidget);
      extend(nodeType, "onExecuted", showText);
    }
    const size = SIZES[nodeData.name];
    if (size) extend(nodeType, "onNodeCreated", (node) => node.setSize(size));
  },
});
