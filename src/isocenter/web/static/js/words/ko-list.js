// @ts-check
// Korean for the study list and what is reached from it.

/** @type {Record<string, string>} */
export const LIST = {
  "A screen on or back": "한 화면 앞뒤로",
  "Download as DICOMDIR": "DICOMDIR로 내려받기",
  "Download it as DICOMDIR": "DICOMDIR로 내려받기",
  "image": "영상",
  "images": "영상",
  "Last study": "마지막 검사",
  "Open in OHIF, in a new tab": "새 탭에서 OHIF로 열기",
};
