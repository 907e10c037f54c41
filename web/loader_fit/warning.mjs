// One line at the end of a node that says what it lacks. It is there only while it says something.
import { addPanel, element, useStyles } from "../shared/dom.mjs";

const NAME = "memory_v2v_fit";
const HEIGHT = 48;

useStyles(new URL("./loader_fit.css", import.meta.url));

function show(node, text) {
  const line = element("div", { className: "memv2v-fit", attributes: { role: "status" } }, text);
  const { size } = node;
  const before = [size[0], size[1]];
  node.memoryV2VFit = { line, widget: addPanel(node, NAME, line, HEIGHT), before };
  const needed = node.computeSize();
  node.setSize([size[0], Math.max(before[1], needed[1])]);
  node.memoryV2VFit.after = node.size[1];
}

function hide(node) {
  const { widget, before, after } = node.memoryV2VFit;
  node.memoryV2VFit = undefined;
  node.removeWidget(widget);
  // A node that the user has resized since keeps his size.
  if (node.size[1] === after) {
    node.setSize([node.size[0], before[1]]);
  }
}

export function warn(node, text) {
  const shown = node.memoryV2VFit;
  if (!text && shown) {
    hide(node);
  } else if (text && !shown) {
    show(node, text);
  } else if (text && shown.line.textContent !== text) {
    shown.line.textContent = text;
  } else {
    return;
  }
  if (node.memoryV2VFit) {
    node.memoryV2VFit.line.title = text;
  }
  node.setDirtyCanvas?.(true, true);
}
