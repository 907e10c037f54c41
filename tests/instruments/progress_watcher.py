"""A script that writes down what the progress panels of the page show while nodes run."""

# Of each node that runs, first one first: every text of its line, how many tiles it had then, and
# every preview. A run that is fast shows more than a test could look at in time.
WATCH = """() => {
  window.seen = [];
  const panels = new Map();
  let isReady = false;
  const look = () => {
    for (const panel of document.querySelectorAll(".memv2v-progress")) {
      const line = panel.querySelector(".memv2v-progress-line").textContent;
      const src = panel.querySelector(".memv2v-screen-picture").getAttribute("src") ?? "";
      if (!panels.has(panel)) panels.set(panel, { line: isReady ? "" : line });
      const held = panels.get(panel);
      if (line !== held.line) {
        held.line = line;
        if (!held.seen) window.seen.push(held.seen = { lines: [], previews: [], tiles: [] });
        held.seen.lines.push(line);
        held.seen.tiles.push(panel.querySelectorAll(".memv2v-tile").length);
      }
      const previews = held.seen?.previews;
      if (src.startsWith("data:") && previews?.at(-1) !== src) previews?.push(src);
    }
  };
  // What an earlier run left is nothing new.
  look();
  isReady = true;
  // The page outlives a test, and two watchers would tell everything twice.
  window.watcher?.disconnect();
  window.watcher = new MutationObserver(look);
  window.watcher.observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true });
}"""
