"use strict";
/* What every picture can do: be saved as numbers or as an image, and share its cursor with the others. */
(() => {
  const pg = window.playground, { h } = pg;
  const SCALE = 2;

  pg.AXES = { step: "step", tokens: "tokens trained on", seconds: "seconds of training", flops: "FLOP spent on training" };
  /* A column of a recorded kind, over any axis; what was not recorded with it follows from the curves. */
  pg.along = (run, columns, axis) => {
    if (columns[axis]) return columns[axis];
    const progress = run.series.progress, perStep = progress && progress.step.length ? progress.tokens.at(-1) / progress.step.at(-1) : 0;
    const tokens = columns.tokens || columns.step.map((step) => step * perStep);
    return axis === "flops" ? tokens.map((t) => t * run.status.flops_per_token) : tokens;
  };

  function save(name, blob) {
    const link = h("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
  const fileName = (name, end) => `${name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "figure"}.${end}`;

  /* What spreadsheets could take for a formula is kept a text. */
  const cell = (value) => {
    if (typeof value === "number") return String(value);
    const text = value === null || value === undefined ? "" : String(value), safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  pg.saveCsv = (name, rows) => save(fileName(name, "csv"), new Blob([rows.map((row) => row.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }));

  /* The picture in `place`: a plot, a drawing, or what a view paints for it. */
  pg.savePng = async (name, place, picture = null) => {
    const plot = place.querySelector(".js-plotly-plot"), drawing = place.querySelector("svg"), canvas = place.querySelector("canvas");
    if (picture) return picture.toBlob((blob) => save(fileName(name, "png"), blob));
    if (plot && plot.offsetParent) {
      const Plotly = await pg.plotly(), url = await Plotly.toImage(plot, { format: "png", width: plot.clientWidth, height: plot.clientHeight, scale: SCALE });
      return save(fileName(name, "png"), await (await fetch(url)).blob());
    }
    if (drawing) return paint(drawing, fileName(name, "png"));
    if (canvas) return canvas.toBlob((blob) => save(fileName(name, "png"), blob));
    await paintText(place, fileName(name, "png"));
  };

  const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font", "text-anchor", "dominant-baseline", "display"];
  function paint(drawing, name) {
    const copy = drawing.cloneNode(true), box = drawing.viewBox.baseVal;
    const originals = [drawing, ...drawing.querySelectorAll("*")], copies = [copy, ...copy.querySelectorAll("*")];
    originals.forEach((element, i) => {
      const style = getComputedStyle(element);
      for (const property of STYLES) copies[i].style.setProperty(property, style.getPropertyValue(property));
    });
    copy.setAttribute("width", box.width);
    copy.setAttribute("height", box.height);
    copy.removeAttribute("style");
    return rasterise(copy, box.width, box.height, name);
  }
  async function rasterise(svg, width, height, name) {
    const image = new Image(), canvas = h("canvas", { width: Math.round(width * SCALE), height: Math.round(height * SCALE) }), pen = canvas.getContext("2d");
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
    await image.decode();
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(name, blob));
  }
  /* Where there are only words and buttons: their lines as a picture. */
  function paintText(place, name) {
    const lines = place.innerText.split("\n").filter((line) => line.trim()), wide = Math.max(200, ...lines.map((line) => line.length * 8)), svg = pg.svg("svg", {});
    lines.forEach((line, i) => svg.append(pg.svg("text", { x: 12, y: 24 + i * 20, fill: pg.css("--body-text-color"), style: "font: 13px ui-monospace, monospace" }, line)));
    return rasterise(svg, wide + 24, lines.length * 20 + 24, name);
  }

  /* Buttons for a panel that shows one plot. */
  pg.exportButtons = (name, place, rows) => h("span", { class: "pg-exports" },
    h("button", { type: "button", class: "pg-export", title: "save the numbers", onclick: () => pg.saveCsv(name(), rows()) }, "CSV"),
    h("button", { type: "button", class: "pg-export", title: "save the picture", onclick: () => pg.savePng(name(), place) }, "PNG"));
  pg.plotRows = (plot) => [["series", "x", "y"], ...(plot.data || []).flatMap((trace) => [...trace.x].map((x, i) => [trace.name || "", x, trace.y[i]]))];

  /* Plots of a group show the same place on their horizontal axes at the same time. */
  const groups = new Map();
  let moving = false;
  pg.joinCursors = (plot, group) => {
    const members = groups.get(group) || groups.set(group, new Set()).get(group);
    if (members.has(plot)) return;
    members.add(plot);
    const others = (act) => {
      if (moving) return;
      moving = true;
      for (const other of members) {
        if (!other.isConnected) { members.delete(other); continue; }
        if (other !== plot && other.offsetParent && other._fullLayout?.xaxis) try { act(other); } catch { /* not drawn at this place */ }
      }
      moving = false;
    };
    plot.on("plotly_hover", ({ points }) => others((other) => window.Plotly.Fx.hover(other, nearest(other, points[0].x), ["xy"])));
    plot.on("plotly_unhover", () => others((other) => window.Plotly.Fx.unhover(other)));
  };
  /* The point of each curve of a plot that lies nearest to x. */
  function nearest(plot, x) {
    const found = [];
    plot.data.forEach((trace, curveNumber) => {
      if (!trace.x.length || trace.hoverinfo === "skip" || trace.visible === false) return;
      let low = 0, high = trace.x.length - 1;
      while (low < high) { const middle = (low + high) >> 1; if (trace.x[middle] < x) low = middle + 1; else high = middle; }
      if (low > 0 && x - trace.x[low - 1] < trace.x[low] - x) low -= 1;
      found.push({ curveNumber, pointNumber: low });
    });
    return found.slice(0, 12);
  }
})();
