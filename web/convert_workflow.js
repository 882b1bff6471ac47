import { app } from "../../scripts/app.js";
import { noteText } from "./conversion/converter.js";
import { isOfOtherPack } from "./conversion/steps.js";
import { convertWorkflow } from "./conversion/ui_format.js";

const RESTING_FRAMES = 5;
const MOST_FRAMES = 60;
const COMMAND = "AnimateDiffLoom.ConvertWorkflow";
const TEXTS = {
  en: {
    label: "Convert AnimateDiff-Evolved nodes",
    nothing: "This workflow has no nodes of AnimateDiff-Evolved, Advanced-ControlNet or FizzNodes to convert.",
    done: "Converted. Everything was carried over.",
    left: "Converted. This was not carried over:",
    failed: "The workflow could not be converted, and nothing was changed. Please report it with the workflow file.",
  },
  zh: {
    label: "转换 AnimateDiff-Evolved 节点",
    nothing: "工作流中没有可转换的 AnimateDiff-Evolved、Advanced-ControlNet 或 FizzNodes 节点。",
    done: "已转换，全部内容均已保留。",
    left: "已转换。以下内容未能保留：",
    failed: "无法转换此工作流，未做任何更改。请附上工作流文件反馈此问题。",
  },
};
let rules;

function language() {
  return String(app.extensionManager.setting.get("Comfy.Locale")).startsWith("zh") ? "zh" : "en";
}

function hasNodesToConvert({ nodes, definitions }) {
  const all = [...nodes, ...(definitions?.subgraphs ?? []).flatMap((subgraph) => subgraph.nodes)];
  return all.some((node) => isOfOtherPack(rules, node.type));
}

/** Put a converted workflow in place of the open one, so that one undo brings that back. */
async function replaceGraph(workflow) {
  const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker;
  tracker.captureCanvasState?.();
  tracker.beforeChange();
  try {
    (app.rootGraph ?? app.graph).configure(workflow);
    app.canvas.setDirty(true, true);
    await untilSizesRest(); // Nodes 2.0 measures nodes after they are drawn, which is part of the same step
  } finally {
    tracker.afterChange();
  }
}

/** Wait until nodes have kept their sizes for some frames of the screen. */
async function untilSizesRest() {
  const sizes = () => JSON.stringify((app.rootGraph ?? app.graph).nodes.map((node) => [...node.size, ...node.pos]));
  for (let before = "", rest = 0, frame = 0; rest < RESTING_FRAMES && frame < MOST_FRAMES; frame++) {
    await new Promise(requestAnimationFrame);
    rest = sizes() === before ? rest + 1 : 0;
    before = sizes();
  }
}

/** Return a converted copy and its notes; an error is told to the user, and null is returned. */
function tryToConvert(original, texts) {
  try {
    return convertWorkflow(original, rules);
  } catch (error) {
    console.error(error);
    app.extensionManager.toast.add({ severity: "error", summary: texts.label, detail: texts.failed, life: 12000 });
    return null;
  }
}

/** Convert the open workflow and tell what could not be carried over. */
async function convert() {
  const texts = TEXTS[language()];
  const original = (app.rootGraph ?? app.graph).serialize();
  if (!hasNodesToConvert(original)) {
    app.extensionManager.toast.add({ severity: "info", summary: texts.label, detail: texts.nothing, life: 6000 });
    return;
  }
  const { workflow, notes } = tryToConvert(original, texts) ?? {};
  if (!workflow) return;
  await replaceGraph(workflow);
  const itemList = notes.map((note) => noteText(note, rules, language()));
  const message = itemList.length ? texts.left : texts.done;
  await app.extensionManager.dialog.confirm({ title: texts.label, message, itemList, type: "info" });
}

app.registerExtension({
  name: "animatediffloom.ConvertWorkflow",
  commands: [{ id: COMMAND, label: TEXTS.en.label, icon: "pi pi-sync", function: convert }],
  menuCommands: [{ path: ["Edit"], commands: [COMMAND] }],
  async setup() {
    rules = await (await fetch(new URL("./conversion/rules.json", import.meta.url))).json();
  },
  getCanvasMenuItems() {
    if (!rules || !hasNodesToConvert((app.rootGraph ?? app.graph).serialize())) return [];
    return [null, { content: TEXTS[language()].label, callback: convert }];
  },
});
