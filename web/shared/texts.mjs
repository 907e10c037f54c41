// The texts of our own widgets, in the language of the page. English is the key.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const translated = {};

// The language can change only with a reload of the page, so one look is enough.
export const textsReady = api
  .fetchApi("/i18n")
  .then((response) => response.json())
  .then((languages) => {
    const locale = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    Object.assign(translated, languages[locale]?.memoryV2V ?? {});
  })
  .catch(() => undefined); // without translations the page speaks English

// `t("{done} of {total} are saved", { done, total })`: every key stands in locales/*/main.json.
export function t(english, values = {}) {
  const text = translated[english] ?? english;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
