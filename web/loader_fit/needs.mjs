// Which built-in model a node needs, and what it lacks before it can run.
import { t } from "../shared/texts.mjs";
import { isLinked, valueOf } from "./links.mjs";

export const LOADER = "LoadMemoryV2VModel";
export const WORDS = "words";
const CAMERA = "camera";

// By what a built-in model edits. Files of the user tell it only once they are loaded.
const BUILT_IN = {
  "built-in: novel_view": CAMERA,
  "built-in: novel_view_depth": CAMERA,
  "built-in: text_edit": WORDS,
  "built-in: reference_edit": WORDS,
};
export const FITTING = { [WORDS]: "built-in: text_edit", [CAMERA]: "built-in: novel_view" };

const EDITORS = new Set(["MemV2VEditLongVideo", "MemV2VSplitSegments"]);
const TURNS = new Set(["MemoryV2VSampler", "MemV2VApplyMemory"]);
const RESHOOT = "MemV2VReshootVideo";
const READ_CLIPS = new Set([...EDITORS, RESHOOT]);

export const isUser = (node) =>
  EDITORS.has(node.comfyClass) || TURNS.has(node.comfyClass) || node.comfyClass === RESHOOT;

export const editsBy = (modelName) => BUILT_IN[modelName];

// What the node asks of its model: words, cameras, or nothing yet.
export function needOf(node) {
  if (EDITORS.has(node.comfyClass)) {
    return WORDS;
  }
  if (node.comfyClass === RESHOOT || isLinked(node, "target_camera")) {
    return CAMERA;
  }
  return isLinked(node, "positive") ? WORDS : undefined;
}

function misfit(modelName, need) {
  const kind = editsBy(modelName);
  if (!kind || !need || kind === need) {
    return undefined;
  }
  const values = { model: modelName, fitting: FITTING[need] };
  return need === WORDS
    ? t(
        "{model} films new camera paths and reads no words. Choose {fitting} in Load Memory-V2V Model.",
        values,
      )
    : t(
        "{model} edits by words and takes no camera path. Choose {fitting} in Load Memory-V2V Model.",
        values,
      );
}

function lackingPrompt(node, modelName) {
  if (!node.inputs?.some((input) => input.name === "positive")) {
    return undefined;
  }
  if (!isLinked(node, "positive")) {
    return t("{model} edits by words. Connect CLIP Text Encode to positive.", { model: modelName });
  }
  const cfg = valueOf(node, "cfg");
  if (typeof cfg === "number" && cfg !== 1 && !isLinked(node, "negative")) {
    return t(
      "At cfg {cfg} the model also reads negative. Connect CLIP Text Encode to it, or set cfg to 1.",
      { cfg },
    );
  }
  return undefined;
}

// Without source and memories the model stays as it is, and needs no path.
function lacksPath(node) {
  return (
    TURNS.has(node.comfyClass) &&
    !isLinked(node, "target_camera") &&
    (isLinked(node, "source") || isLinked(node, "plan"))
  );
}

// What to do first: another model, else what to connect; "" where the node can run.
export function problemOf(node, modelName) {
  const found = [];
  const kind = editsBy(modelName);
  const wrong = misfit(modelName, needOf(node));
  if (wrong) {
    return wrong;
  }
  if (kind === WORDS) {
    found.push(lackingPrompt(node, modelName));
  } else if (kind === CAMERA && lacksPath(node)) {
    found.push(
      t("{model} needs a camera path. Connect Camera Trajectory to target_camera.", {
        model: modelName,
      }),
    );
  }
  if (READ_CLIPS.has(node.comfyClass) && !isLinked(node, "video") && !isLinked(node, "images")) {
    found.push(t("Connect the clip to video or images."));
  }
  return found.filter(Boolean).join(" ");
}

// The loader's own: its text encoder goes somewhere, but this model has none.
export function problemOfLoader(node) {
  const modelName = valueOf(node, "model_name");
  const isRead = node.outputs?.some((output) => output.type === "CLIP" && output.links?.length);
  return isRead && editsBy(modelName) === CAMERA
    ? t("{model} has no text encoder: it reads no words. Choose {fitting}, or disconnect clip.", {
        model: modelName,
        fitting: FITTING[WORDS],
      })
    : "";
}
