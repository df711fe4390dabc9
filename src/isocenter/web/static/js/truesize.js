// @ts-check
// How large a pixel of this screen is. No browser tells: the user compares a bar with a bank card, once for a screen.

/** Width of a bank card, ISO/IEC 7810 ID-1, in mm. */
export const CARD = 85.6;

/** By what the screen is known: a window that goes to another one finds the other's size. */
const key = () => `isocenter-screen-${screen.width}x${screen.height}`;

/** @returns {number | null} mm of a device pixel; null before it was measured */
export function pixelSize() {
  try {
    const kept = Number(localStorage.getItem(key()));
    return kept > 0.01 && kept < 2 ? kept : null;
  } catch {
    return null; // storage is forbidden: each visit measures anew
  }
}

/** @param {number} mm of a device pixel */
export function keepPixelSize(mm) {
  try {
    localStorage.setItem(key(), String(mm));
  } catch {
    // As above; the present view has the size all the same.
  }
}
