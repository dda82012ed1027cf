const PREFIX = "sketchfind.";
const here = new Map();
export function recall(key) {
    try {
        return here.get(key) ?? localStorage.getItem(PREFIX + key);
    }
    catch {
        return here.get(key) ?? null;
    }
}
export function remember(key, value) {
    try {
        localStorage.setItem(PREFIX + key, value);
        here.delete(key);
        return true;
    }
    catch {
        here.set(key, value);
        return false;
    }
}
