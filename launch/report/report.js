// What the drawn page lacks: values under the pointer, zoom, a logarithmic scale, smoothing.
// The charts are there without it; it draws them again, from the same points, when something is asked for.
"use strict";
(() => {
  const { frame, runs, charts, lastStep, numColours, maxDots, largest } = JSON.parse(document.getElementById("data").textContent);
  const [left, right] = [frame.left, frame.width - frame.right];
  const [top, bottom] = [frame.top, frame.height - frame.bottom];
  const full = [0, Math.max(1, lastStep)];
  const view = { steps: full, isLog: false, smoothing: 0 };

  const svgElement = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shown = (value) => (value === null ? "not finite" : String(Number(value.toPrecision(5))));
  // Digits, or "2e-5" where they would be many.
  const tick = (value) =>
    value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e7)
      ? value.toLocaleString("en", { maximumSignificantDigits: 8 })
      : value.toExponential(3).split("e").map(Number).join("e");
  const colour = (run) => `run-${run % numColours}`;

  // ---- scales

  const xOf = (step) => left + ((right - left) * (step - view.steps[0])) / (view.steps[1] - view.steps[0]);
  const stepOf = (x) => view.steps[0] + ((x - left) / (right - left)) * (view.steps[1] - view.steps[0]);

  // The values within view, as a scale: logarithmic where that is asked for and all of them are positive.
  function scaleOf(chart) {
    const [from, to] = view.steps;
    let [low, high] = [Infinity, -Infinity];
    for (const { steps, values } of chart.curves)
      for (let i = 0; i < steps.length; i++)
        if (values[i] !== null && steps[i] >= from && steps[i] <= to) {
          low = Math.min(low, values[i]);
          high = Math.max(high, values[i]);
        }
    if (low > high) [low, high] = [0, 1];
    const isLog = view.isLog && low > 0;
    const along = isLog ? Math.log10 : (value) => value;
    let [a, b] = [along(Math.max(low, -largest)), along(Math.min(high, largest))];
    const room = 0.05 * (b - a) || 0.05 * Math.abs(b) || 1;
    [a, b] = [a - room, b + room];
    const back = isLog ? (place) => 10 ** place : (place) => place;
    return { isLog, low: back(a), high: back(b), y: (value) => bottom - (bottom - top) * ((along(value) - a) / (b - a)) };
  }

  // About `count` round numbers between two.
  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough * 0.999);
    const made = [];
    for (let i = Math.ceil(low / step); i <= Math.floor(high / step); i++) made.push(i * step + 0); // no -0
    return made;
  }

  // Powers of ten; of few decades 1, 2 and 5 of each; of less, round numbers.
  function logTicks(low, high) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const stride = Math.ceil((last - first) / 6);
    const made = [];
    for (let power = first; power <= last; power += stride)
      for (const factor of last - first > 3 ? [1] : [1, 2, 5]) {
        const value = Number(`${factor}e${power}`);
        if (value >= low && value <= high) made.push(value);
      }
    return made.length > 2 ? made : ticks(low, high, 5).filter((value) => value > 0);
  }

  // ---- smoothing

  // A mean weighted by exp(-steps back / span), where span is a share of the run: it does not depend on how densely
  // a run was logged or drawn. Divided by the sum of its weights, so the beginning is no different.
  function smoothed({ steps, values, means }) {
    const points = means ?? { steps, values };
    const span = view.smoothing ** 2 * 0.2 * full[1];
    const made = { steps: [], values: [] };
    let [sum, weights, before] = [0, 0, points.steps[0]];
    points.steps.forEach((step, i) => {
      if (points.values[i] === null) return;
      const kept = Math.exp(-(step - before) / span);
      sum = sum * kept + points.values[i];
      weights = weights * kept + 1;
      before = step;
      made.steps.push(step);
      made.values.push(sum / weights);
    });
    return made;
  }

  // ---- drawing

  function paths(curve, kind, y, num) {
    let [line, dots, missing, isDrawing] = ["", "", "", false];
    const { steps, values } = curve;
    for (let i = 0; i < steps.length; i++) {
      const x = xOf(steps[i]).toFixed(1);
      if (values[i] === null) {
        missing += `M${x} ${bottom}v-8`;
        isDrawing = false;
        continue;
      }
      const place = `${x} ${y(values[i]).toFixed(1)}`;
      const isAlone = !isDrawing && (values[i + 1] ?? null) === null;
      line += (isDrawing ? "L" : "M") + place;
      if (kind === "curve" && (isAlone || steps.length <= maxDots)) dots += `M${place}h0`;
      isDrawing = true;
    }
    const drawn = { [kind]: line, dots, missing };
    return Object.entries(drawn)
      .filter(([, d]) => d)
      .map(([name, d]) => svgElement("path", { d, class: `${name} ${colour(num)}`, "data-run": num }));
  }

  function draw(chart) {
    const scale = scaleOf(chart);
    chart.scale = scale;
    const grid = [];
    for (const value of scale.isLog ? logTicks(scale.low, scale.high) : ticks(scale.low, scale.high, 5)) {
      const y = scale.y(value).toFixed(1);
      grid.push(svgElement("line", { x1: left, x2: right, y1: y, y2: y }));
      grid.push(svgElement("text", { x: left - 6, y, dy: "0.32em", class: "of-value" }, tick(value)));
    }
    for (const step of ticks(...view.steps, 6).filter(Number.isInteger)) {
      const place = { x: xOf(step).toFixed(1), y: bottom + 17, class: "of-step" };
      grid.push(svgElement("text", place, step.toLocaleString("en")));
    }
    chart.grid.replaceChildren(...grid);
    const plot = [];
    runs.forEach((run, number) => {
      for (const start of run.starts) {
        const x = xOf(start.step).toFixed(1);
        const line = svgElement("line", { x1: x, x2: x, y1: top, y2: bottom, class: `start ${colour(number)}` });
        line.append(svgElement("title", {}, start.text));
        plot.push(line);
      }
    });
    for (const curve of chart.curves) plot.push(...paths(curve, "curve", scale.y, curve.run));
    if (view.smoothing > 0)
      for (const curve of chart.curves) plot.push(...paths(smoothed(curve), "smooth", scale.y, curve.run));
    chart.plot.replaceChildren(...plot);
    chart.svg.classList.toggle("is-smoothed", view.smoothing > 0);
    chart.remark.textContent = view.isLog && !scale.isLog ? "linear: not all values are positive" : "";
  }

  let isDue = false;
  function drawAll() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      charts.forEach(draw);
    });
  }

  // ---- the point under the pointer

  function nearest(steps, step) {
    let [low, high] = [0, steps.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1;
      else high = middle;
    }
    return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
  }

  function point(chart, step) {
    const found = chart.curves.map((curve) => ({ curve, i: nearest(curve.steps, step) }));
    const distance = ({ curve, i }) => Math.abs(curve.steps[i] - step);
    const at = found.reduce((best, item) => (distance(item) < distance(best) ? item : best));
    chart.at = at.curve.steps[at.i];
    const lines = [`step ${chart.at.toLocaleString("en")}`];
    for (const { curve, i } of found) {
      const name = runs.length > 1 ? `${runs[curve.run].label}: ` : "";
      const elsewhere = curve.steps[i] === chart.at ? "" : ` (step ${curve.steps[i].toLocaleString("en")})`;
      lines.push(`${name}${shown(curve.values[i])}${elsewhere}`);
    }
    const x = xOf(chart.at);
    chart.cursor.setAttribute("x1", x);
    chart.cursor.setAttribute("x2", x);
    chart.cursor.style.display = "";
    chart.tip.textContent = lines.join("\n");
    chart.tip.hidden = false;
    const place = chart.svg.getBoundingClientRect();
    const isRight = x > (left + right) / 2;
    const across = ((x + (isRight ? -8 : 8)) / frame.width) * place.width + 12;
    chart.tip.style.left = `${across}px`;
    chart.tip.style.top = "3rem";
    chart.tip.style.transform = isRight ? "translateX(-100%)" : "";
  }

  function leave(chart) {
    chart.at = undefined;
    chart.tip.hidden = true;
    chart.cursor.style.display = "none";
  }

  // ---- zoom

  function zoom(from, to) {
    [from, to] = [Math.max(0, Math.round(from)), Math.min(full[1], Math.round(to))];
    view.steps = to > from ? [from, to] : full;
    [fromField.value, toField.value] = view.steps;
    charts.forEach(leave);
    drawAll();
  }

  function listen(chart) {
    const { svg } = chart;
    let began = null;
    const placeOf = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * frame.width;
      return Math.min(right, Math.max(left, x));
    };
    svg.addEventListener("pointermove", (event) => {
      const x = placeOf(event);
      point(chart, stepOf(x));
      if (began !== null) {
        chart.selection.setAttribute("x", Math.min(began, x));
        chart.selection.setAttribute("width", Math.abs(began - x));
      }
    });
    svg.addEventListener("pointerdown", (event) => {
      began = placeOf(event);
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", (event) => {
      const [a, b] = [began, placeOf(event)];
      began = null;
      chart.selection.setAttribute("width", 0);
      if (a !== null && Math.abs(a - b) > 8) zoom(stepOf(Math.min(a, b)), stepOf(Math.max(a, b)));
    });
    svg.addEventListener("pointercancel", () => {
      began = null;
      chart.selection.setAttribute("width", 0);
    });
    svg.addEventListener("pointerleave", () => leave(chart));
    svg.addEventListener("dblclick", () => zoom(...full));
    svg.addEventListener("blur", () => leave(chart));
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") leave(chart);
      if (by === undefined) return;
      event.preventDefault();
      const { steps } = chart.curves[0];
      const edge = by > 0 ? view.steps[0] : view.steps[1];
      const i = nearest(steps, chart.at ?? edge) + (chart.at === undefined ? 0 : by);
      const step = steps[Math.min(steps.length - 1, Math.max(0, i))];
      if (step >= view.steps[0] && step <= view.steps[1]) point(chart, step);
    });
  }

  function adopt(chart) {
    const svg = document.querySelector(`svg[data-chart="${CSS.escape(chart.id)}"]`);
    const figure = svg.closest("figure");
    chart.svg = svg;
    chart.grid = svg.querySelector(".grid");
    chart.plot = svg.querySelector(".plot");
    chart.remark = document.createElement("figcaption");
    chart.tip = document.createElement("div");
    chart.tip.className = "tip";
    chart.tip.setAttribute("role", "status");
    chart.cursor = svgElement("line", { class: "cursor", y1: top, y2: bottom });
    chart.selection = svgElement("rect", { class: "selection", y: top, height: bottom - top, width: 0 });
    svg.append(chart.selection, chart.cursor);
    svg.setAttribute("tabindex", 0);
    svg.querySelector("title").remove(); // browsers show it over the values; its words are the aria-label too
    figure.append(chart.remark, chart.tip);
    leave(chart);
    listen(chart);
  }

  // ---- the tools

  const tools = document.getElementById("tools");
  if (tools === null) return; // nothing was measured
  const field = (name) => tools.querySelector(`[name="${name}"]`);
  const [fromField, toField] = [field("from"), field("to")];
  charts.forEach(adopt);
  field("log").addEventListener("change", (event) => {
    view.isLog = event.target.checked;
    drawAll();
  });
  field("smoothing").addEventListener("input", (event) => {
    view.smoothing = event.target.valueAsNumber;
    drawAll();
  });
  for (const item of [fromField, toField])
    item.addEventListener("change", () => zoom(fromField.valueAsNumber || 0, toField.valueAsNumber || full[1]));
  field("all").addEventListener("click", () => zoom(...full));
  tools.reset();
  [fromField.value, toField.value] = full;
  tools.hidden = false;
})();
