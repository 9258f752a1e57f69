// -- one cursor over all charts: values, and zoom ------------------------------------------------

/** Points of the charts: time, CPU, memory, events per second, and what happened. */
let points = [];
/** The start and the end of the charts, and the ranges of their axes. */
let times = [0, 1];
let ranges = [];
/** The time of the cursor; null without one. */
let cursor = null;
/** Where the selection begins; null without one. */
let anchor = null;

const svgs = [...valueCharts].map((section) => part(section, 'svg'));
const withUnit = (value, decimals, unit) => `${value.toFixed(decimals)}\u00a0${unit}`;
const VALUE_FORMATS = [
  (value) => withUnit(value, 1, '%'),
  (value) => withUnit(value, value < 1_000 ? 1 : 0, 'MB'),
  (value) => (value === 0 ? '0' : value.toFixed(value < 1 ? 2 : 1)),
];
const VALUE_NAMES = ['CPU', 'memory', 'events per second'];

function updateCursor(data) {
  points = data.points ?? [];
  times = [data.times[0], data.times[2]];
  ranges = data.charts.map((chart) => chart.range);
  showCursor();
}

/** The index of the point that is nearest to a time. */
function nearest(time) {
  let best = 0;
  points.forEach(([at], index) => {
    if (Math.abs(at - time) < Math.abs(points[best][0] - time)) best = index;
  });
  return best;
}

const share = (time) => Math.min(Math.max((time - times[0]) / (times[1] - times[0]), 0), 1);

function clock(millis) {
  const time = document.createElement('time');
  time.dataset.exact = '';
  renderTime(time, millis);
  return time.textContent;
}

function valueText(point, chart) {
  const value = point[chart + 1];
  return value === null ? 'unknown' : VALUE_FORMATS[chart](value);
}

function showCursor() {
  const point = cursor === null ? undefined : points[nearest(cursor)];
  svgs.forEach((svg, chart) => {
    const tag = part(svg.parentElement, '.at');
    svg.classList.toggle('has-cursor', Boolean(point));
    tag.hidden = !point;
    const ends = point && anchor !== null ? [share(anchor), share(cursor)].sort((a, b) => a - b) : [0, 0];
    const selection = part(svg, '.selection');
    setAttr(selection, 'x', `${ends[0] * 100}%`);
    setAttr(selection, 'width', `${(ends[1] - ends[0]) * 100}%`);
    if (!point) return;
    const x = share(point[0]);
    const line = part(svg, '.cursor');
    for (const end of ['x1', 'x2']) setAttr(line, end, `${x * 100}%`);
    const [low, high] = ranges[chart];
    const value = point[chart + 1];
    const y = 1.5 + 157 * (1 - (value - low) / (high - low));
    setAttr(part(svg, '.dot'), 'd', value === null ? '' : `M${x * 960} ${y}h0`);
    const happened = chart === 0 && point[4] ? `, ${point[4]}` : '';
    setText(tag, `${clock(point[0])} \u00b7 ${valueText(point, chart)}${happened}`);
    tag.classList.toggle('left', x > 0.5);
    const { left } = tag.parentElement.getBoundingClientRect();
    const box = svg.getBoundingClientRect();
    tag.style.left = `${box.left - left + box.width * x}px`;
  });
}

/** For screen readers: what the keyboard has chosen. */
function announce() {
  const point = points[nearest(cursor)];
  const values = VALUE_NAMES.map((name, chart) => `${name} ${valueText(point, chart)}`);
  const from = anchor === null ? '' : `From ${clock(anchor)} to `;
  $('readout').textContent = `${from}${clock(point[0])}: ${values.join(', ')}${point[4] && `, ${point[4]}`}`;
}

/** Shows the history between two times, or the window again, with an entry in the browser's history. */
function zoom(from, to) {
  const url = new URL($('zoom-out').href);
  if (to - from >= 1) url.search += `&from=${Math.floor(from) - 1}&to=${Math.ceil(to) + 1}`;
  if (url.search === location.search) return;
  history.pushState(null, '', url);
  showRange();
  $('readout').textContent = to ? `Zoomed: ${clock(from)} to ${clock(to)}` : 'Zoomed out';
}

/** Shows what the address states. */
function showRange() {
  body.dataset.query = location.search.slice(1);
  cursor = anchor = null;
  showCursor();
  const isZoomed = new URLSearchParams(location.search).has('from');
  $('zoom-out').hidden = !isZoomed;
  for (const link of document.querySelectorAll('.windows [aria-current]')) {
    link.setAttribute('aria-current', !isZoomed);
  }
  for (const link of $('downloads').children) link.search = location.search;
  revision = '';
  refresh();
}

function onKey(event) {
  const { key, shiftKey } = event;
  const last = points.length - 1;
  const index = cursor === null ? last : nearest(cursor);
  const next = {
    ArrowLeft: cursor === null ? last : index - 1, ArrowRight: cursor === null ? last : index + 1,
    PageUp: index - 10, PageDown: index + 10, Home: 0, End: last,
  }[key];
  if (event.altKey || event.ctrlKey || event.metaKey || last < 0) return;
  if (next !== undefined) {
    if (!shiftKey) anchor = null;
    else anchor ??= points[index][0];
    cursor = points[Math.min(Math.max(next, 0), last)][0];
    announce();
  } else if (key === 'Enter' && anchor !== null && anchor !== cursor) {
    zoom(Math.min(anchor, cursor), Math.max(anchor, cursor));
  } else if (key === 'Escape') {
    if (cursor === null) zoom();
    cursor = anchor = null;
  } else return;
  event.preventDefault();
  showCursor();
}

function followPointer(svg) {
  const timeAt = ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    return times[0] + Math.min(Math.max((clientX - left) / width, 0), 1) * (times[1] - times[0]);
  };
  svg.tabIndex = 0;
  svg.addEventListener('keydown', onKey);
  svg.addEventListener('pointermove', (event) => {
    cursor = timeAt(event);
    if (!event.buttons) anchor = null;
    showCursor();
  });
  svg.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    anchor = cursor = timeAt(event);
    svg.setPointerCapture(event.pointerId);
    showCursor();
  });
  svg.addEventListener('pointerup', () => {
    const [from, to] = [anchor, cursor].sort((a, b) => a - b);
    anchor = null;
    // Shorter movements are clicks.
    if (from !== null && share(to) - share(from) > 0.01) zoom(from, to);
    showCursor();
  });
  for (const end of ['pointerleave', 'pointercancel', 'blur']) {
    svg.addEventListener(end, ({ type, pointerType }) => {
      // A lifted finger leaves the values on the screen.
      if (type === 'pointerleave' && pointerType === 'touch') return;
      cursor = anchor = null;
      showCursor();
    });
  }
}
