// The last run of each node, as the server told it. It outlives the nodes of the page: they are
// made anew whenever the user comes back to a workflow's tab.
import { api } from "../../../scripts/api.js";
import { ROUTES, viewUrl } from "../shared/server.mjs";

const runs = new Map();

const keyOf = (run) => `${run.workflow}/${run.node}`;

export function runAt(workflow, place) {
  return runs.get(`${workflow}/${place}`) ?? runs.get(`null/${place}`) ?? null;
}

// An event about how far a run is; it may bring a finished tile.
export function heardProgress({ tile, ...state }) {
  const run = held(state);
  Object.assign(run, state);
  if (tile) {
    run.tiles.set(tile.number, tile);
  }
  return run;
}

// `picture`: an animated WebP in base64.
export function heardPreview({ picture, ...place }) {
  const run = held(place);
  run.preview = `data:image/webp;base64,${picture}`;
  run.previewed = place.number;
  return run;
}

export function heardRuns(states) {
  for (const { tiles, ...state } of states) {
    const run = heardProgress(state);
    run.tiles = new Map(tiles.map((tile) => [tile.number, tile]));
  }
}

// A new run of a node replaces its last one.
function held(state) {
  let run = runs.get(keyOf(state));
  if (run?.run !== state.run) {
    run = { tiles: new Map(), preview: null, previewed: 0, ...state };
    runs.set(keyOf(state), run);
  }
  return run;
}

export function loopUrl(run, tile) {
  return api.apiURL(`${ROUTES}/live/loop?run=${run.run}&number=${tile.number}`);
}

export function pieceUrl(tile) {
  return viewUrl({ filename: tile.piece, type: "temp" });
}
