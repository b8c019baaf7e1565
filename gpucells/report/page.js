"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const style = { accepted: css("accepted"), rejected: css("rejected"), false: css("false"), ink: "#17212b", quiet: "#6b7785", rule: "#d9dfe5" };
const n = data.cells.kind.length;
const names = { accepted: "accepted", rejected: "rejected", false: "accepted, not in the truth" };
const state = {
  cell: n ? data.cells.order.find((k) => data.cells.kind[k] !== "rejected") ?? data.cells.order[0] : -1,
  pinned: [], hover: -1, hidden: new Set(), unit: "noise", view: null, time: null,
  sort: { column: -1, down: true }, filter: "all", search: "", rows: 200, all: "traces", shown: [],
};

/* ---- small tools ---- */
function css(kind) {
  const probe = document.createElement("i");
  probe.className = "dot " + kind;
  document.body.append(probe);
  const colour = getComputedStyle(probe).backgroundColor;
  probe.remove();
  return colour;
}
function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text !== "") element.textContent = text;
  if (className) element.className = className;
  return element;
}
function format(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10000 || (size > 0 && size < 0.001)) return value.toExponential(1);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}
function time(frame) { return data.rate ? frame / data.rate : frame; }
function roundNumber(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * (value / power >= 5 ? 5 : value / power >= 2 ? 2 : 1);
}
function sized(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 300;
  if (height) canvas.style.height = height + "px";
  height = height || canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return [pen, width, height];
}
function choice(id, options, chosen, act) {
  const group = $(id);
  group.replaceChildren(...options.map(([value, label, enabled = true]) => {
    const button = make("button", label);
    button.disabled = !enabled;
    button.setAttribute("aria-pressed", String(value === chosen));
    button.onclick = () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      act(value);
    };
    return button;
  }));
}

/* ---- traces: bytes to numbers, when they are asked for ---- */
function unpack(packed) {
  if (!packed) return () => null;
  const text = atob(packed.bytes), points = data.traces.x.length, seen = new Map();
  return (cell) => {
    if (!seen.has(cell)) {
      const low = packed.low[cell], step = (packed.high[cell] - low) / 255, values = new Float32Array(points);
      for (let i = 0; i < points; i++) values[i] = low + step * text.charCodeAt(cell * points + i);
      seen.set(cell, values);
    }
    return seen.get(cell);
  };
}
const measured = unpack(data.traces.measured), denoised = unpack(data.traces.denoised);
const frames = data.traces.x;
function divisor(cell) {
  if (state.unit === "dff") return data.cells.f0[cell] || NaN;
  return state.unit === "noise" ? data.cells.noise[cell] || 1 : 1;
}
function line(pen, values, x, y, from = 0, to = values.length) {
  pen.beginPath();
  for (let i = from; i < to; i++) pen.lineTo(x(frames[i]), y(values[i]));
  pen.stroke();
}

/* ---- header and small tables ---- */
$("title").textContent = data.title;
$("subtitle").textContent = data.subtitle;
for (const [value, name, kind] of data.figures) {
  const box = make("div", "", kind);
  box.append(make("dt", name), make("dd", value));
  $("figures").append(box);
}
if (data.warnings.length) {
  $("warnings").hidden = false;
  for (const text of data.warnings) $("warnings").append(make("div", text));
}
function fill(id, rows) {
  const table = $(id);
  if (!rows.length) rows = [["none"]];
  for (const row of rows) {
    const tr = make("tr");
    tr.append(...row.map((text) => make("td", String(text))));
    table.append(tr);
  }
}
fill("reasons", data.reasons);
fill("stages", data.stages.map(([stage, wall, cpu, peak]) => [stage, format(wall) + " s", format(cpu) + " s CPU", (peak / 1e6).toFixed(0) + " MB"]));
fill("settings", data.settings);
fill("origin", data.origin);

/* ---- map ---- */
const map = $("map"), picture = document.createElementNS(SVG, "image"), outlines = [];
for (const [name, value] of Object.entries({ x: -0.5, y: -0.5, width: data.width, height: data.height, preserveAspectRatio: "none" })) picture.setAttribute(name, value);
map.append(picture);
map.style.aspectRatio = data.width + " / " + data.height;
function path(lines, kind) {
  const element = document.createElementNS(SVG, "path");
  let d = "";
  for (const xy of lines) {
    for (let i = 0; i < xy.length; i += 2) d += (i ? "L" : "M") + xy[i] + " " + xy[i + 1];
    d += "Z";
  }
  element.setAttribute("d", d);
  element.setAttribute("class", kind);
  map.append(element);
  return element;
}
for (const kind of ["rejected", "accepted", "false"])
  for (let k = 0; k < n; k++) if (data.cells.kind[k] === kind) outlines[k] = path(data.cells.outline[k], kind);
const missed = (data.missed || []).map((lines) => path(lines, "missed"));
choice("image-choice", data.images.map((image, k) => [k, image.label]), 0, (k) => picture.setAttribute("href", data.images[k].src));
if (data.images.length) picture.setAttribute("href", data.images[0].src);

const kinds = ["accepted", "rejected"].concat(data.missed ? ["false", "missed"] : []);
for (const kind of kinds) {
  const label = make("label"), box = make("input"), swatch = make("span", "", "swatch " + kind);
  box.type = "checkbox";
  box.checked = true;
  swatch.style.borderColor = kind === "missed" ? "#c9b800" : style[kind];
  box.onchange = () => {
    state.hidden[box.checked ? "delete" : "add"](kind);
    outlines.forEach((element, k) => { if (data.cells.kind[k] === kind) element.style.display = box.checked ? "" : "none"; });
    if (kind === "missed") for (const element of missed) element.style.display = box.checked ? "" : "none";
  };
  label.append(box, swatch, kind === "false" ? "not in the truth" : kind);
  $("layers").append(label);
}

function setView(view) {
  state.view = view;
  map.setAttribute("viewBox", view.join(" "));
  const frame = map.getBoundingClientRect(), scale = Math.min(frame.width / view[2], frame.height / view[3]);
  if (data.pixel_um && scale > 0) {
    const length = roundNumber(frame.width / scale * data.pixel_um / 5);
    $("length").textContent = length + " µm";
    $("length").style.width = length / data.pixel_um * scale + "px";
  } else $("length").hidden = true;
}
const whole = () => setView([-0.5, -0.5, data.width, data.height]);
function place(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
  return [point.x, point.y];
}
function nearest(x, y) {
  let best = -1, least = Infinity;
  const reach = Math.max(data.stamps.side * 0.6, state.view[2] * 0.02);
  for (let k = 0; k < n; k++) {
    if (state.hidden.has(data.cells.kind[k]) || data.cells.centre[k][0] === null) continue;
    const distance = Math.hypot(data.cells.centre[k][0] - x, data.cells.centre[k][1] - y);
    if (distance < least && distance < reach) [best, least] = [k, distance];
  }
  return best;
}
let drag = null;
map.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, view: state.view, moved: false }; });
map.addEventListener("pointermove", (event) => {
  if (drag && event.buttons) {
    const scale = 1 / map.getScreenCTM().a, dx = (event.clientX - drag.x) * scale, dy = (event.clientY - drag.y) * scale;
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) drag.moved = true;
    if (drag.moved) setView([drag.view[0] - dx, drag.view[1] - dy, drag.view[2], drag.view[3]]);
  } else hover(nearest(...place(event)));
});
map.addEventListener("pointerleave", () => { drag = null; hover(-1); });
map.addEventListener("click", (event) => {
  const moved = drag && drag.moved, cell = nearest(...place(event));
  drag = null;
  if (moved || cell < 0) return;
  if (event.shiftKey) pin(cell); else select(cell, true);
});
map.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = place(event), [left, top, width, height] = state.view;
  const factor = Math.min(Math.max(Math.exp(event.deltaY * 0.0015), 4 / width), data.width / width);
  setView([x - (x - left) * factor, y - (y - top) * factor, width * factor, height * factor]);
}, { passive: false });
map.addEventListener("dblclick", whole);
function hover(cell) {
  if (cell === state.hover) return;
  if (outlines[state.hover]) outlines[state.hover].classList.remove("near");
  state.hover = cell;
  if (outlines[cell]) outlines[cell].classList.add("near");
}

/* ---- the selected cell ---- */
function neighbours(cell) {
  const [x, y] = data.cells.centre[cell], reach = data.stamps.side;
  return data.cells.order
    .map((k) => [k, Math.hypot(data.cells.centre[k][0] - x, data.cells.centre[k][1] - y)])
    .filter(([k, distance]) => k !== cell && distance < reach)
    .sort((a, b) => a[1] - b[1]).slice(0, 4).map(([k]) => k);
}
function lanes() {
  const near = $("neighbours").checked && state.cell >= 0 ? neighbours(state.cell) : [];
  return [...new Set([state.cell, ...state.pinned, ...near])].filter((k) => k >= 0);
}
function select(cell, scroll = false) {
  if (outlines[state.cell]) outlines[state.cell].classList.remove("selected");
  state.cell = cell;
  if (outlines[cell]) { outlines[cell].classList.add("selected"); map.append(outlines[cell]); }
  for (const row of $("table").tBodies[0].rows) row.classList.toggle("selected", Number(row.dataset.cell) === cell);
  const row = $("table").querySelector("tr.selected"), frame = row && row.closest(".scroll");
  if (scroll && row) frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
  drawCell();
}
function pin(cell) {
  if (cell === state.cell) return;
  const at = state.pinned.indexOf(cell);
  if (at >= 0) state.pinned.splice(at, 1); else state.pinned.push(cell);
  outlines[cell].classList.toggle("pinned", at < 0);
  drawTrace();
}
function drawCell() {
  const cell = state.cell, box = $("cell-name");
  box.replaceChildren();
  if (cell < 0) { box.append(make("strong", "No cells")); drawTrace(); return; }
  const kind = data.cells.kind[cell], reason = data.cells.reason[cell];
  box.append(make("strong", "Cell " + cell), make("span", names[kind] + (kind === "rejected" && reason ? ": " + reason : ""), "chip " + kind));
  const stamp = $("stamp"), side = data.stamps.side;
  stamp.width = stamp.height = side;
  stampInto(stamp.getContext("2d"), cell, 0, 0, side);
  drawHistograms();
  drawTrace();
}
const stamps = new Image();
function stampInto(pen, cell, x, y, size) {
  const { side, across } = data.stamps;
  pen.imageSmoothingEnabled = false;
  if (stamps.complete && stamps.naturalWidth) pen.drawImage(stamps, (cell % across) * side, Math.floor(cell / across) * side, side, side, x, y, size, size);
}

let axis = null;
function drawTrace() {
  const shown = lanes(), tall = Math.max(300, 40 + 95 * shown.length);
  const [pen, width, height] = sized($("trace"), Math.min(tall, 620));
  if (!shown.length || !frames.length) { $("readout").textContent = "no trace"; return; }
  const left = 52, right = width - 8, bottom = height - 26, lane = (bottom - 6) / shown.length;
  const [from, to] = state.time || [0, Math.max(data.frames - 1, 1)];
  const x = (frame) => left + (frame - from) / (to - from) * (right - left);
  axis = { left, right, from, to, frame: (px) => from + (px - left) / (right - left) * (to - from) };
  let first = 0, last = frames.length;
  while (first < frames.length - 2 && frames[first + 2] < from) first++;
  while (last > first + 2 && frames[last - 3] > to) last--;
  pen.font = "11px system-ui, sans-serif";
  drawTimeAxis(pen, x, bottom, from, to, height);
  shown.forEach((cell, place) => {
    const by = divisor(cell), raw = measured(cell), model = denoised(cell);
    let low = Infinity, high = -Infinity;
    for (let i = first; i < last; i++) { low = Math.min(low, raw[i]); high = Math.max(high, raw[i]); }
    const span = high - low || 1, top = 6 + place * lane, y = (v) => top + lane * 0.04 + (high + span * 0.04 - v) / (span * 1.08) * lane * 0.92;
    const step = roundNumber(span / by / Math.max(lane / 42, 1.5));
    pen.textAlign = "right"; pen.textBaseline = "middle";
    for (let v = Math.ceil(low / by / step) * step; v * by <= high && step > 0 && Number.isFinite(by); v += step) {
      pen.strokeStyle = Math.abs(v) < step / 2 ? "#b9c2cb" : "#edf0f3";
      pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(left, y(v * by)); pen.lineTo(right, y(v * by)); pen.stroke();
      pen.fillStyle = style.quiet;
      pen.fillText(state.unit === "dff" ? Math.round(v * 100) + " %" : String(+v.toPrecision(6)), left - 6, y(v * by));
    }
    pen.save();
    pen.beginPath(); pen.rect(left, 0, right - left, bottom); pen.clip();
    pen.lineJoin = "round";
    pen.lineWidth = 1;
    pen.strokeStyle = model ? "#9aa5b1" : style.ink;
    line(pen, raw, x, y, first, last);
    if (model) { pen.strokeStyle = style[data.cells.kind[cell]]; pen.lineWidth = 1.4; line(pen, model, x, y, first, last); }
    pen.restore();
    if (shown.length > 1) {
      pen.fillStyle = style[data.cells.kind[cell]]; pen.textAlign = "left"; pen.textBaseline = "top"; pen.font = "600 12px system-ui, sans-serif";
      pen.fillText("cell " + cell, left + 6, top + 2);
      pen.font = "11px system-ui, sans-serif";
    }
  });
  $("readout").textContent = (data.rate ? "time in s" : "time in frames (frame rate unknown)") + ", height in " +
    { noise: "the cell's own noise", dff: "dF/F", raw: "the movie's units" }[state.unit] +
    (data.traces.denoised ? ", model in colour" : "") + ". Drag to zoom in time, double-click for all.";
}
function drawTimeAxis(pen, x, bottom, from, to, height) {
  const rate = data.rate || 1, step = roundNumber((to - from) / rate / 6);
  pen.fillStyle = style.quiet; pen.strokeStyle = style.rule; pen.textAlign = "center"; pen.textBaseline = "alphabetic"; pen.lineWidth = 1;
  for (let t = Math.ceil(from / rate / step) * step; t * rate <= to; t += step) {
    pen.beginPath(); pen.moveTo(x(t * rate), bottom); pen.lineTo(x(t * rate), bottom + 4); pen.stroke();
    pen.fillText(String(+t.toPrecision(8)), x(t * rate), height - 8);
  }
}
let brush = null;
const trace = $("trace");
trace.addEventListener("pointerdown", (event) => { brush = event.offsetX; });
trace.addEventListener("pointerup", (event) => {
  if (brush !== null && axis && Math.abs(event.offsetX - brush) > 8) {
    const ends = [axis.frame(brush), axis.frame(event.offsetX)].sort((a, b) => a - b);
    state.time = [Math.max(ends[0], 0), Math.min(ends[1], data.frames - 1)];
    drawTrace();
  }
  brush = null;
});
trace.addEventListener("pointermove", (event) => {
  if (!axis || state.cell < 0) return;
  const frame = Math.min(Math.max(axis.frame(event.offsetX), 0), data.frames - 1);
  let i = frames.findIndex((f) => f >= frame);
  if (i < 0) i = frames.length - 1;
  const value = measured(state.cell)[i] / divisor(state.cell);
  $("readout").textContent = (data.rate ? format(time(frame)) + " s, " : "") + "frame " + Math.round(frame) + ": " +
    (state.unit === "dff" ? format(value * 100) + " %" : format(value) + (state.unit === "noise" ? " × noise" : ""));
});
trace.addEventListener("dblclick", () => { state.time = null; drawTrace(); });
const hasDff = data.cells.f0.some((v) => v !== null && v > 0);
choice("unit-choice", [["noise", "× noise"], ["dff", "dF/F", hasDff], ["raw", "raw"]], "noise", (unit) => { state.unit = unit; drawTrace(); });
$("neighbours").onchange = drawTrace;

/* ---- measures ---- */
function edges(measure) {
  const values = measure.values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!values.length) return null;
  let low = values[Math.floor(0.01 * (values.length - 1))], high = values[Math.ceil(0.99 * (values.length - 1))];
  const spread = high - low;
  for (const bound of measure.bounds) if (bound !== null && bound >= low - 2 * spread && bound <= high + 2 * spread) { low = Math.min(low, bound); high = Math.max(high, bound); }
  const margin = 0.03 * (high - low) || Math.max(Math.abs(high) * 0.05, 0.5);
  return [low - margin, high + margin];
}
const charts = data.measures.map((measure) => {
  const figure = make("figure"), caption = make("figcaption"), value = make("b"), canvas = make("canvas"), name = make("span", measure.label);
  name.title = measure.label;
  caption.append(name, value);
  figure.append(caption, canvas);
  $("histograms").append(figure);
  const ends = edges(measure), bins = 30, counts = { accepted: new Array(bins).fill(0), rejected: new Array(bins).fill(0) };
  if (ends) measure.values.forEach((v, k) => {
    if (v === null) return;
    const bin = Math.min(Math.max(Math.floor((v - ends[0]) / (ends[1] - ends[0]) * bins), 0), bins - 1);
    counts[data.cells.kind[k] === "rejected" ? "rejected" : "accepted"][bin]++;
  });
  return { measure, value, canvas, ends, bins, counts };
});
function drawHistograms() {
  for (const { measure, value, canvas, ends, bins, counts } of charts) {
    const own = measure.values[state.cell], [pen, width, height] = sized(canvas);
    value.textContent = format(own);
    if (!ends) continue;
    const most = Math.max(1, ...counts.accepted.map((c, k) => c + counts.rejected[k])), base = height - 7, step = width / bins;
    const x = (v) => Math.min(Math.max((v - ends[0]) / (ends[1] - ends[0]), 0), 1) * width;
    pen.fillStyle = "#e9edf1"; // what is rejected
    if (measure.bounds[0] !== null) pen.fillRect(0, 0, x(measure.bounds[0]), base);
    if (measure.bounds[1] !== null) pen.fillRect(x(measure.bounds[1]), 0, width - x(measure.bounds[1]), base);
    for (let k = 0; k < bins; k++) {
      const a = counts.accepted[k] / most * base, r = counts.rejected[k] / most * base;
      pen.fillStyle = style.accepted; pen.fillRect(k * step, base - a, step - 1, a);
      pen.fillStyle = style.rejected; pen.fillRect(k * step, base - a - r, step - 1, r);
    }
    pen.fillStyle = style.rule; pen.fillRect(0, base, width, 1);
    pen.strokeStyle = style.ink; pen.setLineDash([3, 2]);
    for (const bound of measure.bounds) if (bound !== null && bound >= ends[0] && bound <= ends[1]) { pen.beginPath(); pen.moveTo(x(bound), 0); pen.lineTo(x(bound), base); pen.stroke(); }
    pen.setLineDash([]);
    if (own !== null && own !== undefined) { pen.fillStyle = style.ink; pen.beginPath(); pen.moveTo(x(own), base - 2); pen.lineTo(x(own) - 5, height); pen.lineTo(x(own) + 5, height); pen.fill(); }
  }
}

/* ---- all traces ---- */
function listed() {
  const some = data.cells.order.filter((k) => data.cells.kind[k] !== "rejected");
  return some.length ? some : data.cells.order;
}
let laneOf = null;
function drawAll() {
  const raster = state.all === "raster", cells = raster ? listed() : listed().slice(0, Number($("how-many").value));
  $("how-many").disabled = raster;
  const lane = raster ? Math.min(Math.max(420 / Math.max(cells.length, 1), 1), 8) : 26;
  const peaks = raster ? [] : cells.map((k) => Math.max(...measured(k)) / (data.cells.noise[k] || 1)).sort((a, b) => a - b);
  const unit = lane * 1.25 / Math.max(peaks[Math.floor(peaks.length * 0.7)] || 1, 4);
  const [pen, width, height] = sized($("all"), Math.max(60, lane * cells.length + (raster ? 4 : 34) + 24));
  pen.font = "11px system-ui, sans-serif";
  if (!cells.length || !frames.length) { pen.fillStyle = style.quiet; pen.fillText("no traces", 10, 20); return; }
  const left = 44, right = width - 8, top = raster ? 4 : 34, bottom = top + lane * cells.length;
  const x = (frame) => left + frame / Math.max(data.frames - 1, 1) * (right - left);
  laneOf = (y) => cells[Math.floor((y - top) / lane + (raster ? 0 : 0.35))];
  drawTimeAxis(pen, x, bottom, 0, Math.max(data.frames - 1, 1), height);
  if (raster) drawRaster(pen, cells, left, right, top, bottom);
  else cells.forEach((cell, place) => {
    const base = top + lane * (place + 0.85), values = measured(cell), noise = data.cells.noise[cell] || 1;
    pen.strokeStyle = data.cells.kind[cell] === "rejected" ? style.rejected : style.ink;
    pen.lineWidth = 0.8;
    line(pen, values, x, (v) => base - v / noise * unit);
    pen.fillStyle = style.quiet; pen.textAlign = "right"; pen.textBaseline = "middle";
    pen.fillText(String(cell), left - 8, base - 3);
  });
}
function drawRaster(pen, cells, left, right, top, bottom) {
  const columns = Math.min(frames.length, 2000), image = new ImageData(columns, cells.length);
  cells.forEach((cell, row) => {
    const values = measured(cell), noise = data.cells.noise[cell] || 1;
    for (let column = 0; column < columns; column++) {
      const from = Math.floor(column * frames.length / columns), to = Math.max(from + 1, Math.floor((column + 1) * frames.length / columns));
      let high = -Infinity;
      for (let i = from; i < to; i++) high = Math.max(high, values[i]);
      const dark = 255 - Math.min(Math.max(high / noise / 15, 0), 1) * 255, at = 4 * (row * columns + column);
      image.data[at] = image.data[at + 1] = image.data[at + 2] = dark;
      image.data[at + 3] = 255;
    }
  });
  const sheet = make("canvas");
  sheet.width = columns;
  sheet.height = cells.length;
  sheet.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(sheet, left, top, right - left, bottom - top);
  pen.strokeStyle = style.rule;
  pen.strokeRect(left, top, right - left, bottom - top);
}
$("all").onclick = (event) => {
  const cell = laneOf && laneOf(event.offsetY);
  if (cell === undefined || cell === null) return;
  if (event.shiftKey) pin(cell); else select(cell, true);
};
choice("all-choice", [["traces", "traces"], ["raster", "raster"]], "traces", (what) => { state.all = what; drawAll(); });
$("how-many").oninput = drawAll;

/* ---- table ---- */
const columns = [
  { name: "cell", value: (k) => k },
  { name: "status", text: true, value: (k) => names[data.cells.kind[k]] },
  { name: "reason", text: true, value: (k) => data.cells.reason[k] },
  ...(data.measures.some((m) => /SNR/.test(m.label)) ? [] : [{ name: "SNR", value: (k) => data.cells.snr[k] }]),
  ...data.measures.map((m) => ({ name: m.label, bounds: m.bounds, value: (k) => m.values[k] })),
];
if (!data.cells.reason.some((text) => text)) columns.splice(2, 1);
const head = make("tr");
head.append(make("th"));
columns.forEach((column, index) => {
  const th = make("th", "", column.text ? "text" : ""), button = make("button", column.name);
  button.onclick = () => {
    state.sort = { column: index, down: state.sort.column === index ? !state.sort.down : !column.text && column.name !== "cell" };
    for (const other of head.cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
    drawTable();
  };
  th.append(button);
  head.append(th);
});
head.append(make("th", "trace", "text"));
$("table").tHead.append(head);

const lazily = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { lazily.unobserve(entry.target); drawRow(entry.target); }
}, { rootMargin: "200px" });
function drawRow(row) {
  const cell = Number(row.dataset.cell), [stamp, spark] = row.querySelectorAll("canvas");
  stampInto(stamp.getContext("2d"), cell, 0, 0, 28);
  const ratio = window.devicePixelRatio || 1, pen = spark.getContext("2d"), values = measured(cell);
  spark.width = 260 * ratio;
  spark.height = 28 * ratio;
  pen.scale(ratio, ratio);
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  pen.strokeStyle = style.ink;
  pen.lineWidth = 0.6;
  line(pen, values, (f) => f / Math.max(data.frames - 1, 1) * 260, (v) => 26 - (v - low) / (high - low || 1) * 24);
}
function drawTable() {
  const { column, down } = state.sort, words = state.search.trim().toLowerCase();
  let cells = data.cells.order.filter((k) => state.filter === "all" || (data.cells.kind[k] === "rejected") === (state.filter === "rejected"));
  if (words) cells = cells.filter((k) => String(k) === words || data.cells.reason[k].toLowerCase().includes(words));
  if (column >= 0) {
    const value = columns[column].value;
    cells = cells.slice().sort((a, b) => {
      const u = value(a), v = value(b);
      if (u === null || v === null) return (u === null) - (v === null);
      return (u < v ? -1 : u > v ? 1 : 0) * (down ? -1 : 1);
    });
  }
  state.shown = cells;
  lazily.disconnect();
  $("table").tBodies[0].replaceChildren(...cells.slice(0, state.rows).map(tableRow));
  const rest = cells.length - state.rows;
  $("more").hidden = rest <= 0;
  $("more").textContent = "show more of the other " + rest;
  for (const row of $("table").tBodies[0].rows) lazily.observe(row);
}
function tableRow(cell) {
  const row = make("tr"), stamp = make("canvas"), first = make("td"), last = make("td"), spark = make("canvas");
  row.dataset.cell = cell;
  stamp.width = stamp.height = 28;
  spark.style.width = "260px";
  spark.style.height = "28px";
  first.append(stamp);
  last.append(spark);
  row.append(first);
  columns.forEach((column, index) => {
    const value = column.value(cell), td = make("td", column.text || column.name === "cell" ? String(value) : format(value), column.text ? "text" : "");
    if (column.text) td.title = value;
    if (index === 1) td.prepend(make("span", "", "dot " + data.cells.kind[cell]));
    if (column.bounds && value !== null && ((column.bounds[0] !== null && value < column.bounds[0]) || (column.bounds[1] !== null && value > column.bounds[1]))) td.classList.add("fails");
    row.append(td);
  });
  row.append(last);
  row.classList.toggle("selected", cell === state.cell);
  row.onclick = (event) => (event.shiftKey ? pin(cell) : select(cell));
  return row;
}
choice("filter-choice", [["all", "all"], ["accepted", "accepted"], ["rejected", "rejected"]], "all", (which) => { state.filter = which; state.rows = 200; drawTable(); });
$("search").oninput = () => { state.search = $("search").value; state.rows = 200; drawTable(); };
$("more").onclick = () => { state.rows += 500; drawTable(); };
function move(step) {
  const at = state.shown.indexOf(state.cell), to = state.shown[Math.min(Math.max(at + step, 0), state.shown.length - 1)];
  if (to === undefined) return;
  if (state.shown.indexOf(to) >= state.rows) { state.rows += 500; drawTable(); }
  select(to, true);
}
$("previous").onclick = () => move(-1);
$("next").onclick = () => move(1);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); move(event.key === "ArrowDown" ? 1 : -1); }
});

/* ---- start ---- */
stamps.onload = () => { drawCell(); for (const row of $("table").tBodies[0].rows) lazily.observe(row); };
stamps.src = data.stamps.src;
whole();
drawTable();
if (n) select(state.cell); else drawCell();
drawAll();
let later = 0;
window.addEventListener("resize", () => { clearTimeout(later); later = setTimeout(() => { setView(state.view); drawCell(); drawAll(); }, 120); });
