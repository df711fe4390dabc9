// @ts-check
// Korean for the study list and what is reached from it.

/** @type {Record<string, string>} */
export const LIST = {
  "A screen on or back": "한 화면 앞뒤로",
  "Download as DICOMDIR": "DICOMDIR로 내려받기",
  "Download it as DICOMDIR": "DICOMDIR로 내려받기",
  "{0} already there": "이미 있음 {0}개",
  "cannot be read": "읽을 수 없음",
  "compressed in its ZIP file in a way that browsers do not know": "브라우저가 풀 수 없는 방식으로 압축됨",
  "DICOM files, folders and ZIP files": "DICOM 파일, 폴더, ZIP 파일",
  "encrypted in its ZIP file": "ZIP 파일 안에서 암호화됨",
  "file {0} of {1}": "파일 {1}개 중 {0}번째",
  "image": "영상",
  "images": "영상",
  "Last study": "마지막 검사",
  "not a DICOM file": "DICOM 파일이 아님",
  "not a readable DICOM object": "읽을 수 없는 DICOM 객체",
  "stored before with other content": "같은 UID로 다른 내용이 이미 저장됨",
  "the archive is out of space": "저장 공간 부족",
  "the object is not what it says it is": "객체가 선언한 것과 다름",
  "the server could not process it": "서버가 처리하지 못함",
  "the ZIP file is cut off": "ZIP 파일이 잘려 있음",
  "the ZIP file is damaged": "ZIP 파일이 손상됨",
  "Upload cancelled.": "업로드를 취소했습니다.",
  "Open in OHIF, in a new tab": "새 탭에서 OHIF로 열기",
};
