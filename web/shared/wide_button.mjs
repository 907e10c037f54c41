// A button as wide as its node, in both renderings.
import { addPanel, element, useStyles } from "./dom.mjs";

const HEIGHT = 24;

useStyles(new URL("./wide_button.css", import.meta.url));

// `name` is the widget's, and the button's class beside the common one.
export function addWideButton(node, name, onclick) {
  const button = element("button", {
    className: `memv2v-wide-button ${name}`,
    type: "button",
    onclick,
  });
  return { button, widget: addPanel(node, name, button, HEIGHT) };
}
