// An upload button on Import Camera Trajectory.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { t, textsReady } from "../shared/texts.mjs";
import { addWideButton } from "../shared/wide_button.mjs";

async function uploadCamera(node, file) {
  const body = new FormData();
  body.append("image", file); // ComfyUI's one route for files of the input folder
  body.append("type", "input");
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.status !== 200) {
    app.extensionManager.toast.add({
      severity: "error",
      summary: t("Upload failed"),
      detail: `${file.name}: ${response.status} ${response.statusText}`,
    });
    return;
  }
  const { name, subfolder } = await response.json();
  const path = subfolder ? `${subfolder}/${name}` : name;
  const widget = node.widgets.find((held) => held.name === "file");
  if (!widget.options.values.includes(path)) {
    widget.options.values = [...widget.options.values, path].sort();
  }
  widget.value = path;
  widget.callback?.(path);
  node.setDirtyCanvas?.(true, true);
}

function addUploadButton(node) {
  const picker = document.createElement("input");
  picker.type = "file";
  picker.accept = ".json,.txt,.bin,application/json,text/plain";
  picker.multiple = true; // COLMAP's pictures and lenses are two files
  picker.onchange = async () => {
    for (const file of picker.files) {
      await uploadCamera(node, file);
    }
  };
  const { button } = addWideButton(node, "memv2v-camera-upload", () => {
    picker.value = ""; // the same file can be chosen again
    picker.click();
  });
  textsReady.then(() => (button.textContent = t("Upload a camera file")));
}

app.registerExtension({
  name: "MemoryV2V.CameraFiles",
  nodeCreated(node) {
    if (node.comfyClass === "MemV2VImportCameraTrajectory") {
      addUploadButton(node);
    }
  },
});
