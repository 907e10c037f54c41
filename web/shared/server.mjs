// Requests to the pack's own routes on ComfyUI's server.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

export const ROUTES = "/memory_v2v";

// The answer's JSON. An answer that is no success throws an Error with the server's own sentence.
async function answered(response) {
  const content = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(content.error ?? `${response.status} ${response.statusText}`);
  }
  return content;
}

export async function getJson(path) {
  return answered(await api.fetchApi(ROUTES + path));
}

export async function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  return answered(await api.fetchApi(ROUTES + path, options));
}

// The address of a file of ComfyUI's own folders, as a node's output names it.
export function viewUrl({ filename, subfolder, type }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder: subfolder ?? "", type })}`);
}

export function showError(summary, error) {
  const detail = error?.message ?? String(error);
  app.extensionManager.toast.add({ severity: "error", summary, detail, life: 10000 });
}
