// The texts of our own widgets, in the language of the page. English is the key.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const languages = {};

export const textsReady = api
  .fetchApi("/i18n")
  .then((response) => response.json())
  .then((served) => Object.assign(languages, served))
  .catch(() => undefined); // without translations the page speaks English

// The language can change while the page is open: ComfyUI then makes the nodes again.
function language() {
  return app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
}

// A part of the locales that has texts in English too, such as "templateWorkflows".
export function textTable(name, locale = language()) {
  return languages[locale]?.[name] ?? languages.en?.[name] ?? {};
}

// What ComfyUI calls an input of a node in the language of the page: its name without a translation.
export function inputLabel(node, name) {
  const type = node.comfyClass ?? node.constructor.comfyClass;
  return textTable("nodeDefs")[type]?.inputs?.[name]?.name ?? name;
}

// `t("{done} of {total} are saved", { done, total })`: every key stands in locales/*/main.json.
export function t(english, values = {}) {
  const text = languages[language()]?.memoryV2V?.[english] ?? english;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
