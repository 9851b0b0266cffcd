"use strict";
const specs = JSON.parse(document.getElementById("figures").textContent);
const plots = [...document.querySelectorAll("[data-figure]")];
const still = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
const NARROW = 560, PRINTED = { wide: 680, half: 332 }, LOWER = 0.7;

/* The labels of a scatter were placed for two widths; take the one at hand. */
function placed(spec, width) {
  if (!spec.narrow || width >= NARROW) return spec.data;
  return [{ ...spec.data[0], textposition: spec.narrow, textfont: { size: 10.5 } }, ...spec.data.slice(1)];
}

for (const plot of plots) {
  const spec = specs[plot.dataset.figure];
  Plotly.newPlot(plot, placed(spec, plot.clientWidth), spec.layout, still);
}

/* A button hides or shows its entry in every figure, whichever key it stands in. */
const buttons = [...document.querySelectorAll("[data-entry]")];
for (const button of buttons) {
  button.addEventListener("click", () => {
    const name = button.dataset.entry, shown = button.getAttribute("aria-pressed") !== "true";
    for (const other of buttons) if (other.dataset.entry === name) other.setAttribute("aria-pressed", String(shown));
    for (const plot of plots) {
      const lines = plot.data.flatMap((line, at) => (line.meta === name ? [at] : []));
      if (lines.length) Plotly.restyle(plot, { visible: shown }, lines);
    }
  });
}

/* On paper, figures are as wide as the sheet and every table is open; afterwards all is as it was. */
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const block of closed) block.open = true;
  for (const plot of plots) {
    const height = LOWER * specs[plot.dataset.figure].layout.height;
    Plotly.relayout(plot, { width: PRINTED[plot.parentElement.className], height, autosize: false });
  }
});
addEventListener("afterprint", () => {
  for (const block of closed) block.open = false;
  for (const plot of plots) {
    Plotly.relayout(plot, { width: null, height: specs[plot.dataset.figure].layout.height, autosize: true });
  }
});
