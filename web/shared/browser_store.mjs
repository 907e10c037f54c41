// What a page remembers in this browser, beside the workflow: in the workflow's file every run would
// mark it as changed, and a shared file would carry it along.

// The newest `most` values by key; a full or foreign store counts as an empty one.
export class BrowserStore {
  constructor(name, most) {
    Object.assign(this, { name, most });
  }

  all() {
    try {
      return JSON.parse(localStorage.getItem(this.name)) ?? {};
    } catch {
      return {}; // written by something else
    }
  }

  get(key) {
    return this.all()[key];
  }

  // `undefined` drops the key. What is set anew is the newest.
  put(key, value) {
    const { [key]: _, ...others } = this.all();
    const entries = Object.entries(others);
    if (value !== undefined) {
      entries.push([key, value]);
    }
    const newest = Object.fromEntries(entries.slice(-this.most));
    try {
      localStorage.setItem(this.name, JSON.stringify(newest));
    } catch {
      localStorage.removeItem(this.name); // the browser's room for this site is full
    }
  }
}
