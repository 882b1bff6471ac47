import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const CHOICES = { LoomLoadMotionModel: "motion_model", LoomNewMotionModel: "architecture" };

/** Return the tooltip of a choice in the user's language; the English one has the reasons in it already. */
async function translateTooltip(nodeName) {
  const texts = await (await api.fetchApi("/i18n")).json();
  const language = app.extensionManager.setting.get("Comfy.Locale");
  return texts[language]?.nodeDefs?.[nodeName]?.inputs?.[CHOICES[nodeName]]?.tooltip;
}

// A translated tooltip replaces the one that the server sends, and with it why modules of other packs are refused.
app.registerExtension({
  name: "animatediffloom.RefusedModules",
  async beforeRegisterNodeDef(nodeType, nodeData) {
    const refused = nodeData.name in CHOICES && nodeData.output_tooltips?.[0];
    const translated = refused && (await translateTooltip(nodeData.name));
    if (!translated) return;
    const original = nodeType.prototype.onNodeCreated;
    nodeType.prototype.onNodeCreated = function (...values) {
      original?.apply(this, values);
      const choice = this.widgets.find((widget) => widget.name === CHOICES[nodeData.name]);
      choice.tooltip = `${translated} ${refused}`;
    };
  },
});
