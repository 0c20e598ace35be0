// The page's own script: run once the document is ready. It thins the rows on the screen, follows the pointer,
// and keeps the panels to the chosen depths. `full`, `shown`, `depths`, `sources`, `across` and `facts` are given by
// Bokeh.
const table = full.data, count = table.depth.length
const named = new Set([...facts.species, ...facts.indicators])
const state = { row: -1, pinned: false, chosen: null }

function unseen(name) { return facts.species.includes(name) ? facts.unseen_species : facts.unseen_indicator }

function row_at(depth) {
  let low = 0, high = count - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if (table.depth[middle] < depth) low = middle + 1; else high = middle
  }
  return low > 0 && depth - table.depth[low - 1] < table.depth[low] - depth ? low - 1 : low
}

// Median of what is seen; missing when most is not, so that single spikes draw no curve.
function median_of(name, start, stop) {
  const value = table["v:" + name], flag = table["f:" + name], hidden = unseen(name), seen = []
  for (let i = start; i < stop; i++) if (!(flag[i] & hidden) && Number.isFinite(value[i])) seen.push(value[i])
  if (2 * seen.length < stop - start) return NaN
  seen.sort((a, b) => a - b)
  const half = seen.length >> 1
  return seen.length % 2 ? seen[half] : (seen[half - 1] + seen[half]) / 2
}

function rows_between(top, bottom) {
  let first = row_at(top), last = row_at(bottom)
  if (table.depth[first] < top && first < last) first++
  if (table.depth[last] > bottom && last > first) last--
  return [first, last + 1]
}

function redraw() {
  const top = Math.min(depths.start, depths.end), bottom = Math.max(depths.start, depths.end)
  let [first, stop] = rows_between(top, bottom)
  first = Math.max(0, first - 1); stop = Math.min(count, stop + 1)
  const step = Math.max(1, Math.ceil((stop - first) / facts.screen_rows)), size = Math.ceil((stop - first) / step)
  const data = { depth: new Float64Array(size), row: new Int32Array(size) }
  for (const name of facts.drawn) data[name] = new Float32Array(size)
  for (let k = 0; k < size; k++) {
    const a = first + k * step, b = Math.min(a + step, stop), middle = (a + b - 1) >> 1
    data.depth[k] = table.depth[middle]
    data.row[k] = middle
    for (const name of facts.drawn) data[name][k] = median_of(name, a, b)
  }
  for (const name of facts.drawn) data["w:" + name] = data.row  // a tooltip formats rows: a missing value has no words
  shown.data = data
  const each = step * facts.step
  show("resolution", each > 1 ? `curves: median of ${each} depths each; zoom in for single depths` : "curves: every depth")
  choose()
}

function quartiles(values) {
  values.sort((a, b) => a - b)
  const at = q => {
    const place = q * (values.length - 1), low = Math.floor(place), high = Math.ceil(place)
    return values[low] + (values[high] - values[low]) * (place - low)
  }
  return [at(0.25), at(0.5), at(0.75)]
}

function choose() {
  const [top, bottom] = state.chosen ?? [Math.min(depths.start, depths.end), Math.max(depths.start, depths.end)]
  const [first, stop] = rows_between(top, bottom)
  const chosen = { x: [0, 1, 2, 3], low: [], middle: [], high: [] }
  for (const name of facts.pixler) {
    const seen = []
    if (named.has(name)) {
      const value = table["v:" + name], flag = table["f:" + name]
      for (let i = first; i < stop; i++) if (!(flag[i] & facts.unseen_indicator) && Number.isFinite(value[i])) seen.push(value[i])
    }
    const [low, middle, high] = 2 * seen.length >= stop - first && seen.length ? quartiles(seen) : [NaN, NaN, NaN]
    chosen.low.push(low); chosen.middle.push(middle); chosen.high.push(high)
  }
  sources.pixler_chosen.data = chosen
  const x = [], y = [], step = Math.max(1, Math.ceil((stop - first) / 4000))
  for (let i = first; i < stop; i += step) {
    if (Number.isFinite(table.ternary_x[i])) { x.push(table.ternary_x[i]); y.push(table.ternary_y[i]) }
  }
  sources.ternary_chosen.data = { x, y }
  show("chosen", `${metres(top)} to ${metres(bottom)} m` + (state.chosen ? " (selected)" : " (on the screen)"))
}

function metres(depth) { return depth.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 }) }

function amount(value) {
  if (!Number.isFinite(value)) return "-"
  const size = Math.abs(value)
  if (size >= 100) return value.toLocaleString("en", { maximumFractionDigits: 0 })
  return size >= 0.001 || size === 0 ? value.toPrecision(3) : value.toExponential(1)
}

function flags_of(name, row) {
  const meanings = facts.species.includes(name) ? facts.species_flags : facts.indicator_flags
  const flag = table["f:" + name][row]
  return meanings.filter(one => flag & one[0]).map(one => one[1].replaceAll("_", " ")).join(", ")
}

function in_words(name, row) {
  const value = table["v:" + name][row], sigma = table["s:" + name][row], flags = flags_of(name, row)
  const unit = facts.units[name] === "1" ? "" : " " + facts.units[name]
  const plus = Number.isFinite(sigma) ? " ± " + amount(sigma) : ""
  const limit = table["l:" + name]
  const hidden = table["f:" + name][row] & unseen(name)
  const said = hidden && limit && Number.isFinite(limit[row]) ? `< ${amount(limit[row])}${unit}` : `${amount(value)}${plus}${unit}`
  return flags ? `${said} [${flags}]` : said
}

function point_at(depth) {
  const row = row_at(depth)
  if (row === state.row) return
  state.row = row
  const here = table.depth[row]
  show("pointer", `${metres(here)} m${state.pinned ? " (held; click to free)" : ""}`)
  const seen = name => named.has(name) && !(table["f:" + name][row] & facts.unseen_indicator) ? table["v:" + name][row] : NaN
  sources.pixler_pointer.data = { x: [0, 1, 2, 3], y: facts.pixler.map(seen) }
  const known = Number.isFinite(table.ternary_x[row])
  sources.ternary_pointer.data = known ? { x: [table.ternary_x[row]], y: [table.ternary_y[row]] } : { x: [], y: [] }
  if (sources.spectrum) draw_spectrum(here, row)
  write_table(row)
}

function draw_spectrum(depth, row) {
  const codes = sources.heat.data.codes[0], residual = sources.heat.data.residual[0]
  const columns = facts.mz.length, rows = codes.length / columns
  const at = Math.min(rows - 1, Math.max(0, Math.floor((depth - facts.heat_top) / (facts.heat_bottom - facts.heat_top) * rows)))
  const old = sources.spectrum.data
  const measured = new Float64Array(columns), fit = new Float64Array(columns), left = new Float64Array(columns)
  for (let m = 0; m < columns; m++) {
    const code = codes[at * columns + m], rest = residual[at * columns + m]
    measured[m] = code ? facts.highest_a * 10 ** ((code / facts.highest_code - 1) * facts.decades) : NaN
    left[m] = rest === -128 ? NaN : rest * facts.residual_step
    let sum = 0
    facts.species.forEach((name, k) => {
      const value = table["v:" + name][row]
      if (Number.isFinite(value)) sum += value * facts.design[m * facts.species.length + k]
    })
    fit[m] = sum > 0 ? sum / table.air[row] : NaN
  }
  sources.spectrum.data = { mz: old.mz, low: old.low, measured, fit, residual: left }
}

function write_table(row) {
  const line = name => `<tr><td>${name.replaceAll("_", " ")}</td><td>${in_words(name, row)}</td></tr>`
  const part = (title, names) => `<table><tr><th colspan="2">${title}</th></tr>${names.map(line).join("")}</table>`
  document.getElementById("nightwell-values").innerHTML =
    part("species", facts.species) + part("indicators", facts.indicators) + compared_at(table.depth[row])
}

// Streams meet at the depths of samples: the nearest one, and how far it is.
function compared_at(depth) {
  const depths = across.data.depth ?? []
  if (!depths.length) return ""
  let best = 0
  for (let i = 1; i < depths.length; i++) if (Math.abs(depths[i] - depth) < Math.abs(depths[best] - depth)) best = i
  const line = ([name, title, unit]) => {
    const value = across.data["v:" + name][best], sigma = across.data["s:" + name][best]
    const words = Number.isFinite(value) ? `${amount(value)} ± ${amount(sigma)}${unit === "1" ? "" : " " + unit}` : "not detected"
    return `<tr><td>${escaped(title)}</td><td>${words}</td></tr>`
  }
  return `<table><tr><th colspan="2">streams compared, at ${metres(depths[best])} m</th></tr>${facts.across.map(line).join("")}</table>`
}

function escaped(text) {
  const holder = document.createElement("span")
  holder.textContent = text
  return holder.innerHTML
}

function show(id, text) { document.getElementById("nightwell-" + id).textContent = text }

let waiting = 0
function soon() { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(redraw) }

window.nightwell = {
  in_words,
  moved(event) { if (!state.pinned && Number.isFinite(event.y)) point_at(event.y) },
  tapped(event) {
    state.pinned = !state.pinned
    state.row = -1
    point_at(event.y)
  },
  selected(geometry) {
    state.chosen = geometry ? [Math.min(geometry.y0, geometry.y1), Math.max(geometry.y0, geometry.y1)] : null
    choose()
  },
  zoom(top, bottom) { depths.setv({ start: bottom, end: top }) },
  state, table, shown, depths, sources, across,
}
depths.properties.start.change.connect(soon)
depths.properties.end.change.connect(soon)
for (const row of document.querySelectorAll("[data-top]")) {
  const top = Number(row.dataset.top), bottom = Number(row.dataset.bottom), room = 0.15 * (bottom - top) + 1
  row.addEventListener("click", event => event.target.closest("details") || window.nightwell.zoom(top - room, bottom + room))
}
redraw()
point_at(facts.first_depth)
document.body.dataset.ready = "yes"
