// Joining in where ComfyUI or another pack has a method already.

// Call `then` after each call of a method that others may have set too.
export function after(owner, name, then) {
  const before = owner[name];
  owner[name] = function (...given) {
    const result = before?.apply(this, given);
    then(...given);
    return result;
  };
}
