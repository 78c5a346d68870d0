// Controls that a screen reader could not name.
() =>
  [...document.querySelectorAll("button, a, select, input")]
    .filter((control) => !(control.innerText || control.getAttribute("aria-label") || "").trim())
    .map((control) => control.outerHTML.slice(0, 80));
