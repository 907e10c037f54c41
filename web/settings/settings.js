// The pack's settings in ComfyUI's settings dialog.
import { app } from "../../../scripts/app.js";
import { t, textsReady } from "../shared/texts.mjs";

// ComfyUI shows the last one first.
function settings() {
  const category = (name) => ["Memory-V2V", "Memory-V2V", name];
  return [
    {
      id: "MemoryV2V.AllowDownload",
      category: category("AllowDownload"),
      name: t("Allow downloads"),
      tooltip: t(
        "Lets nodes whose allow_download is on fetch the weights of DINOv2 (88 MB to 1.2 GB) from huggingface.co. A workflow alone downloads nothing.",
      ),
      type: "boolean",
      defaultValue: false,
    },
    {
      id: "MemoryV2V.Preview",
      category: category("Preview"),
      name: t("Preview while sampling"),
      tooltip: t("animated: a looped preview of the video that is being made. off: none."),
      type: "combo",
      options: [
        { value: "animated", text: t("animated") },
        { value: "off", text: t("off") },
      ],
      defaultValue: "animated",
    },
    {
      id: "MemoryV2V.DefaultSession",
      category: category("DefaultSession"),
      name: t("Default session"),
      tooltip: t("The session that a newly placed Memory Cache or Edit Long Video gets."),
      type: "text",
      defaultValue: "",
    },
  ];
}

await textsReady;
app.registerExtension({ name: "MemoryV2V.Settings", settings: settings() });
