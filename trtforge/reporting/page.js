"use strict";
// Sorting and filtering of the table, and the drawing of the graph. Texts enter the page as text only.
(() => {
  const byId = (id) => document.getElementById(id);
  const rows = [...byId("table").tBodies[0].rows];

  // ---- table
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const choices = { precision: byId("by-precision"), role: byId("by-role") };
  for (const [key, select] of Object.entries(choices)) {
    for (const value of new Set(rows.map((row) => row.dataset[key]))) select.add(new Option(value, value));
    select.addEventListener("change", show);
  }
  byId("filter").addEventListener("input", show);

  function show() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, index) => {
      const fits = words.every((word) => texts[index].includes(word)) &&
        Object.entries(choices).every(([key, select]) => !select.value || row.dataset[key] === select.value);
      row.hidden = !fits;
      count += fits;
    });
    byId("shown").textContent = `${count} of ${rows.length} layers`;
  }
  show();

  const heads = [...byId("table").tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const numeric = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric && column > 0;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = numeric ? (row) => Number(row.cells[column].dataset.v) : (row) => row.cells[column].textContent.trim();
    const keyed = rows.map((row, index) => [key(row), index, row]);
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    keyed.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    byId("table").tBodies[0].append(...keyed.map((each) => each[2]));
  }));

  // ---- drawing
  const data = JSON.parse(byId("data").textContent);
  const svg = byId("graph");
  const view = { x: 0, y: 0, width: 100, height: 100 };
  let whole = { ...view };

  const make = (name, attributes, parent) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (parent) parent.append(element);
    return element;
  };

  function look() {
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    const pixels = Math.min(svg.clientWidth / view.width, svg.clientHeight / view.height) || 1;
    byId("zoom").textContent = `${Math.round(100 * pixels)} %`;
  }

  function zoom(factor, at) {
    const width = Math.min(Math.max(view.width * factor, 80), whole.width * 4);
    const real = width / view.width;
    const [x, y] = at || [view.x + view.width / 2, view.y + view.height / 2];
    Object.assign(view, { x: x - (x - view.x) * real, y: y - (y - view.y) * real, width, height: view.height * real });
    look();
  }

  function start() { // the top of the graph at a size that can be read
    const width = Math.min(whole.width, Math.max(svg.clientWidth, 600));
    const height = width * svg.clientHeight / Math.max(svg.clientWidth, 1);
    const top = data.boxes.length ? placed.node(String(data.boxes[0].id)) : { x: 0 };
    Object.assign(view, { x: top.x - width / 2, y: -10, width, height });
    look();
  }

  function all() { Object.assign(view, whole); look(); }

  let placed;
  function draw() {
    byId("draw").hidden = true;
    placed = new dagre.graphlib.Graph();
    placed.setGraph({ rankdir: "TB", ranksep: 34, nodesep: 22, marginx: 12, marginy: 12 });
    placed.setDefaultEdgeLabel(() => ({}));
    const size = (box) => Math.max(120, 7 * Math.max(box.what.length + 2, 0.85 * box.name.length) + 16);
    for (const box of data.boxes) placed.setNode(String(box.id), { width: size(box), height: 42 });
    for (const [from, to] of data.links) placed.setEdge(String(from), String(to));
    dagre.layout(placed);
    svg.replaceChildren();
    const marker = make("marker", { id: "tip", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 7, markerHeight: 7, orient: "auto" }, make("defs", {}, svg));
    make("path", { d: "M0 0L6 3L0 6Z", class: "arrow" }, marker);
    for (const edge of placed.edges()) {
      const points = placed.edge(edge).points;
      const path = points.slice(1, -1).reduce((text, point, index) => {
        const next = points[index + 2];
        const end = index + 3 === points.length ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
        return `${text}Q${point.x} ${point.y} ${end.x} ${end.y}`;
      }, `M${points[0].x} ${points[0].y}`);
      make("path", { d: path, class: "link", "marker-end": "url(#tip)" }, svg);
    }
    for (const box of data.boxes) {
      const { x, y, width, height } = placed.node(String(box.id));
      const moves = box.role === "compute" ? "" : " moves";
      const group = make("g", { class: `box ${box.kind}${moves}`, transform: `translate(${x} ${y})` }, svg);
      make("rect", { x: -width / 2, y: -height / 2, width, height, rx: 6 }, group);
      make("text", { y: -3, class: "what" }, group).textContent = box.what;
      make("text", { y: 13, class: "called" }, group).textContent = box.name;
      make("title", {}, group).textContent = `${box.id + 1}: ${box.name}\n${box.what}, ${box.precision || "no tensors"}, ${box.role}`;
      group.addEventListener("click", () => { if (!dragged) reveal(box.id); });
    }
    const { width = 100, height = 100 } = placed.graph();
    whole = { x: 0, y: 0, width: Math.max(width, 100), height: Math.max(height, 100) };
    start();
  }

  function reveal(id) {
    byId("filter").value = "";
    Object.values(choices).forEach((select) => { select.value = ""; });
    show();
    rows.forEach((row) => row.classList.remove("found"));
    const row = byId(`layer-${id}`);
    row.classList.add("found");
    row.scrollIntoView({ block: "center" });
  }

  let dragged = false;
  let grip = null;
  const scale = () => Math.max(view.width / svg.clientWidth, view.height / svg.clientHeight);
  svg.addEventListener("pointerdown", (event) => { grip = { x: event.clientX, y: event.clientY }; dragged = false; });
  window.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y];
    if (Math.hypot(dx, dy) < 4 && !dragged) return;
    dragged = true;
    view.x -= dx * scale();
    view.y -= dy * scale();
    grip = { x: event.clientX, y: event.clientY };
    look();
  });
  window.addEventListener("pointerup", () => { grip = null; });
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 250), [point.x, point.y]);
  }, { passive: false });
  svg.addEventListener("keydown", (event) => {
    const step = view.height / 8;
    const keys = {
      "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), "0": all,
      ArrowUp: () => { view.y -= step; look(); }, ArrowDown: () => { view.y += step; look(); },
      ArrowLeft: () => { view.x -= step; look(); }, ArrowRight: () => { view.x += step; look(); },
    };
    if (keys[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); keys[event.key](); }
  });
  byId("zoom-in").addEventListener("click", () => zoom(0.8));
  byId("zoom-out").addEventListener("click", () => zoom(1.25));
  byId("zoom-all").addEventListener("click", all);
  window.addEventListener("beforeprint", () => { if (placed) all(); });
  byId("draw").addEventListener("click", draw);
  if (data.atOnce) setTimeout(draw, 0); // the page shows first
  else byId("draw").hidden = false;
})();
