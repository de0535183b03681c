/* Text to the clipboard, and the button that says so. */

export async function copyText(button, text, tell) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard API over plain HTTP from another host: the old way still works there.
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = done ? "Copied" : "Not allowed";
  tell(button.textContent);
  setTimeout(() => { button.textContent = "Copy"; }, 1600);
}
