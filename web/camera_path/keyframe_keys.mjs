// Keys of a keyframe's handle in any view.
export function keyframeKey(model, idx, event, onOpen) {
  if (event.key === "Delete" || event.key === "Backspace") {
    model.remove(idx);
  } else if (event.key === "Insert") {
    model.select(idx);
    model.add(frameAt(model, idx));
  } else if (event.key === "Enter" || event.key === " ") {
    model.select(idx);
    onOpen?.();
  } else {
    return false;
  }
  return true;
}

// The drawn frame that comes nearest to a keyframe's time.
export function frameAt(model, idx) {
  const time = model.keyframes[idx]?.time ?? 0;
  const apart = (model.view?.times ?? [0]).map((held) => Math.abs(held - time));
  return apart.indexOf(Math.min(...apart));
}
