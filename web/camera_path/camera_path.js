// The camera path editor in Camera Trajectory.
import { app } from "../../../scripts/app.js";
import { textsReady } from "../shared/texts.mjs";
import { PATH_WIDGET, pathWidget } from "./path_widget.mjs";

app.registerExtension({
  name: "MemoryV2V.CameraPath",
  async init() {
    await textsReady; // buttons are named once
  },
  getCustomWidgets() {
    return { [PATH_WIDGET]: pathWidget };
  },
});
