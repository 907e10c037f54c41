// The video player in Compare Turns.
import { app } from "../../../scripts/app.js";
import { addPanel } from "../shared/dom.mjs";
import { keep, kept } from "./kept.mjs";
import { Player } from "./player.mjs";

const NODE = "MemV2VCompareTurns";
const HEIGHT = 340;
const WIDTH = 400;

function addPlayer(node) {
  const player = new Player();
  addPanel(node, "memory_v2v_compare", player.root, HEIGHT);
  node.memoryV2VPlayer = player;
  const size = node.computeSize();
  node.setSize([Math.max(WIDTH, size[0]), Math.max(size[1], node.size[1])]);
  const onRemoved = node.onRemoved;
  node.onRemoved = function () {
    player.release();
    return onRemoved?.apply(this, arguments);
  };
}

app.registerExtension({
  name: "MemoryV2V.Compare",
  nodeCreated(node) {
    if (node.comfyClass === NODE) {
      addPlayer(node);
    }
  },
  loadedGraphNode(node) {
    const shown = node.comfyClass === NODE && kept(node);
    if (shown) {
      node.memoryV2VPlayer?.load(shown);
    }
  },
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== NODE) {
      return;
    }
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const [shown] = output?.memory_v2v_compare ?? [];
      if (shown) {
        keep(this, shown);
        this.memoryV2VPlayer?.load(shown);
      }
    };
  },
});
