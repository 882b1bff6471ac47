import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const HOST_WIDGET = "$$node-text-preview";

/** Remove the text that the host has shown on a node in an earlier run. */
function removeText({ detail }) {
  const node = app.graph.getNodeById(detail.node_id);
  const place = node?.widgets?.findIndex((widget) => widget.name === HOST_WIDGET) ?? -1;
  if (place < 0) return;
  node.widgets[place].onRemove?.();
  node.widgets.splice(place, 1);
  node.setDirtyCanvas(true);
}

app.registerExtension({
  name: "animatediffloom.NodeText",
  setup() {
    api.addEventListener("animatediffloom.no_text", removeText);
  },
});
