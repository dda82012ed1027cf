// What the browser keeps for the page, where it may; where it may not, the page remembers it until it is closed.

const PREFIX = "sketchfind.";
const here = new Map<string, string>();

export function recall(key: string): string | null {
  try {
    return here.get(key) ?? localStorage.getItem(PREFIX + key);
  } catch {
    return here.get(key) ?? null;
  }
}

/** Whether it outlasts the page. */
export function remember(key: string, value: string): boolean {
  try {
    localStorage.setItem(PREFIX + key, value);
    here.delete(key);
    return true;
  } catch {
    here.set(key, value);
    return false;
  }
}
