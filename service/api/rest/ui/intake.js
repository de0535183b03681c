/* How pictures come in: chosen, dropped or pasted, any number of them. */

/** Calls onFiles with a list of files, never empty. page gets the class "dragging" while files hover over it. */
export function takeIn(input, page, onFiles) {
  const give = (files) => { if (files.length) onFiles(files); };
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same file again is a new wish
    give(files);
  });
  let depth = 0; // dragenter and dragleave also fire for every child crossed
  addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth++;
    page.classList.add("dragging");
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) page.classList.remove("dragging");
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    page.classList.remove("dragging");
    give([...(event.dataTransfer?.files ?? [])]);
  });
  addEventListener("paste", (event) => give([...(event.clipboardData?.files ?? [])]));
}
