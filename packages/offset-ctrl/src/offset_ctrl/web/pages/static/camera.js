// Scanning a code with the camera, where the browser can: Chrome on Android, and others with BarcodeDetector.
//
// A button appears beside each field for a text. What the camera sees stays in this page: only the text of a code of
// ours is put into the field, and the person sends it as if it had been pasted.
"use strict";

(() => {
  const LOOK_AGAIN_MILLISECONDS = 150;
  const OURS = /^offset:/i;

  async function canScan() {
    if (!window.BarcodeDetector || !navigator.mediaDevices?.getUserMedia) return false;
    try {
      return (await BarcodeDetector.getSupportedFormats()).includes("qr_code");
    } catch {
      return false;
    }
  }

  function say(words) {
    document.getElementById("said").textContent = words;
  }

  function build() {
    const dialog = document.createElement("dialog");
    dialog.className = "camera";
    dialog.setAttribute("aria-label", "Scan a code");
    const video = document.createElement("video");
    video.playsInline = true;
    video.muted = true;
    video.setAttribute("aria-label", "What the camera sees");
    const words = document.createElement("p");
    words.setAttribute("role", "status");
    words.textContent = "Hold the code before the camera.";
    const stop = document.createElement("button");
    stop.type = "button";
    stop.className = "second";
    stop.textContent = "Stop";
    stop.addEventListener("click", () => dialog.close());
    dialog.append(video, words, stop);
    return { dialog, video, words };
  }

  function pause(milliseconds) {
    return new Promise((resume) => setTimeout(resume, milliseconds));
  }

  // The text of the first code of ours; null: the person has stopped.
  async function look({ dialog, video, words }) {
    const detector = new BarcodeDetector({ formats: ["qr_code"] });
    while (dialog.open) {
      const found = video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA ? await detector.detect(video) : [];
      for (const { rawValue } of found) {
        if (OURS.test(rawValue)) return rawValue;
        words.textContent = "This is another code. Hold one before the camera that another wallet shows.";
      }
      await pause(LOOK_AGAIN_MILLISECONDS);
    }
    return null;
  }

  async function scan(field) {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    } catch (error) {
      field.setCustomValidity(
        error.name === "NotAllowedError"
          ? "The browser may not use the camera. Allow it in the settings of this page, or paste the text."
          : "There is no camera that can be used. Paste the text, or open the file."
      );
      field.reportValidity();
      return;
    }
    const parts = build();
    document.body.append(parts.dialog);
    parts.dialog.showModal();
    try {
      parts.video.srcObject = stream;
      await parts.video.play();
      const text = await look(parts);
      if (text !== null) {
        field.setCustomValidity("");
        field.value = text;
        say("The code was read");
      }
    } catch {
      say("The code can not be read here. Paste the text, or open the file.");
    } finally {
      for (const track of stream.getTracks()) track.stop();
      parts.dialog.remove();
      field.focus();
    }
  }

  let isAble = false;

  function show(root) {
    for (const button of root.querySelectorAll("[data-scan]")) button.parentElement.hidden = !isAble;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-scan]");
    if (button) scan(document.getElementById(button.dataset.scan));
  });
  document.addEventListener("wallet:shown", (event) => show(event.target));

  canScan().then((able) => {
    isAble = able;
    show(document);
  });
})();
