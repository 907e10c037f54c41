// Titles and descriptions on the pack's cards in ComfyUI's template dialog. By itself the dialog
// shows a custom pack's workflows by the names of their files; to ComfyUI's own it gives texts.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { textTable, textsReady } from "../shared/texts.mjs";

// The key of our texts in locales/*/main.json, whatever the pack's folder is called.
const PACK = "comfyui-memory-v2v";
const NO_BREAK_HYPHEN = "\u2011"; // the dialog makes spaces of plain ones

// The pack's folder on this server, which names the group of its cards.
function ownFolder() {
  return decodeURIComponent(new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0]);
}

function card(name, titles, descriptions) {
  const description = descriptions[name] ?? name;
  return {
    name,
    title: titles[name] ?? name,
    description: description.replaceAll("-", NO_BREAK_HYPHEN),
    mediaType: "image",
    mediaSubtype: "jpg",
  };
}

function group(folder, names, locale) {
  const { template = {}, templateDescription = {} } = textTable("templateWorkflows", locale);
  const texts = [template[PACK] ?? {}, templateDescription[PACK] ?? {}];
  return {
    moduleName: folder,
    title: "Memory-V2V",
    templates: names.map((name) => card(name, ...texts)),
  };
}

// Our workflows move from the list of names to the list with texts. A frontend that asks otherwise
// shows the names of the files, as before.
function describeCards(folder) {
  const { getWorkflowTemplates, getCoreWorkflowTemplates } = api;
  if (!getWorkflowTemplates || !getCoreWorkflowTemplates) return;
  let names = [];
  api.getWorkflowTemplates = async () => {
    const { [folder]: ours = [], ...others } = await getWorkflowTemplates.call(api);
    names = [...ours].sort();
    return others;
  };
  api.getCoreWorkflowTemplates = async (locale) => {
    const groups = await getCoreWorkflowTemplates.call(api, locale);
    await textsReady;
    // The original asks again in English where ComfyUI lacks a language: then ours is there twice.
    const others = groups.filter(({ moduleName }) => moduleName !== folder);
    return names.length ? [...others, group(folder, names, locale)] : others;
  };
}

app.registerExtension({
  name: "MemoryV2V.Templates",
  setup() {
    describeCards(ownFolder());
  },
});
