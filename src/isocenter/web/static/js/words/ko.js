// @ts-check
// The interface in Korean, by its English words.

/** @type {Record<string, string>} */
export const KOREAN = {};
