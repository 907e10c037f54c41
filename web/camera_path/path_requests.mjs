// Asks the server for the path as it is edited. One question at a time: while one is on its way the
// newest waits, so the page never falls behind a drag.
import { postJson } from "../shared/server.mjs";

const SETTINGS = [
  "motion",
  "amplitude",
  "easing",
  "speed",
  "returns",
  "second_motion",
  "second_amplitude",
];
export const WATCHED = [...SETTINGS, "num_frames", "fov_deg", "aspect"];

export class PathRequests {
  // `given()`: what else decides the path: { session, aspect, scoring }.
  constructor(node, model, given) {
    Object.assign(this, { node, model, given, isAsking: false, isWaiting: false });
  }

  async ask() {
    if (this.isAsking) {
      this.isWaiting = true;
      return;
    }
    this.isAsking = true;
    this.model.setBusy(true);
    do {
      this.isWaiting = false;
      const text = this.model.askedText;
      try {
        const view = text === null ? null : await postJson("/path", this.body(text));
        // An answer to an older path is drawn too: the line follows the handle.
        if (view && this.model.askedText !== null) {
          this.model.setView(view);
        }
      } catch (error) {
        this.model.setError(error);
      }
    } while (this.isWaiting);
    this.isAsking = false;
    this.model.setBusy(false);
  }

  // What a motion's keyframes are, without a change of the path.
  async preset(motion) {
    const body = this.body("");
    const found = await postJson("/path", { ...body, settings: { ...body.settings, motion } });
    return found.keyframes;
  }

  body(keyframes) {
    const values = valuesOf(this.node);
    const { session, aspect, scoring } = this.given();
    const settings = { keyframes };
    for (const name of SETTINGS) {
      if (values[name] !== undefined) {
        settings[name] = values[name];
      }
    }
    return {
      settings,
      num_frames: values.num_frames ?? 9,
      fov_deg: values.fov_deg ?? 60,
      aspect: aspect ?? values.aspect ?? 1,
      session,
      ...scoring,
    };
  }
}

function valuesOf(node) {
  return Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value]));
}
