/* A tab list as WAI-ARIA's authoring practices have it: one stop in the tab order, arrows go between. */

/** list holds buttons with role tab and data-tab; onPick(name) is called for the one chosen. */
export function wireTabs(list, onPick) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const pick = (tab, focus = false) => {
    for (const other of tabs) {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    onPick(tab.dataset.tab);
  };
  list.addEventListener("click", ({ target }) => {
    const tab = target.closest("[role=tab]");
    if (tab) pick(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    pick(tabs[(to + tabs.length) % tabs.length], true);
  });
  return (name) => pick(tabs.find((tab) => tab.dataset.tab === name));
}
