// -- fetching ------------------------------------------------------------------------------------

const FETCH_TIMEOUT_MS = 10_000;
/** At most five seconds, because changes of state are published between ticks too. */
const REFRESH_INTERVAL_MS = Math.min(Math.max(interval, 1), 5) * 1_000;

/** A stream without a heartbeat is not trusted for longer than this. */
const STREAM_CHECK_MS = 20_000;

let started = '';
let revision = '';
/** The version of the notifications that the page shows. */
let log = '';
let tick = Number(ageText?.dataset.tick);
let isFetching = false;
/** Data were requested again during a fetch, which may have been answered before the change. */
let isOutdated = false;
let refreshTimer;
/** The stream of events, while the page is visible and the browser has streams. */
let eventSource = null;
/** Whether the stream is connected: then its events replace the interval. */
let isStreaming = false;

function fetchPath(path) {
  const url = new URL(body.dataset.base + path, document.baseURI);
  // If the page was opened with a password in its address, fetch rejects URLs derived from it.
  url.username = url.password = '';
  return fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
}

/** Opens the stream, and closes it while the page is hidden: a browser has few connections per server. */
function followEvents() {
  if (document.hidden || stopped || !window.EventSource) {
    eventSource?.close();
    eventSource = null;
    isStreaming = false;
    return;
  }
  if (eventSource && eventSource.readyState !== EventSource.CLOSED) return;
  const url = new URL(`${body.dataset.base}api/events?since=${revision || 0}`, document.baseURI);
  url.username = url.password = '';
  eventSource = new EventSource(url);
  eventSource.addEventListener('open', () => {
    isStreaming = true;
    refresh();
  });
  eventSource.addEventListener('revision', refresh);
  // Confirms that the data are current, as an empty response does.
  eventSource.addEventListener('heartbeat', () => {
    respondedAt = performance.now();
    refresh();
  });
  // The browser connects again by itself, or has given up; until then the page polls.
  eventSource.addEventListener('error', () => {
    isStreaming = false;
    refresh();
  });
}

async function refresh() {
  clearTimeout(refreshTimer);
  isOutdated = isFetching;
  if (isFetching || document.hidden) return;
  isFetching = true;
  let data = null;
  try {
    const query = body.dataset.query;
    const path = isIndex ? 'page/rows?' : `page/plugin?${query}&`;
    const response = await fetchPath(`${path}log=${log}&since=${revision || 0}&started=${started}`);
    if (response.status === 200) data = await response.json();
    if (response.ok) respondedAt = performance.now();
    if (query === body.dataset.query) {
      const isRemoved = !isIndex && response.status === 404;
      errorText = response.ok ? null
        : isRemoved ? banner.dataset.removed : `${banner.dataset.httpError} ${response.status}.`;
    } else {
      // The range was changed during the request, and its data are fetched next.
      data = null;
    }
  } catch {
    // No response, an incomplete one, or one that is not from this server.
    errorText = banner.dataset.disconnected;
  }
  isFetching = false;
  refreshTimer = setTimeout(refresh, isOutdated ? 0 : isStreaming ? STREAM_CHECK_MS : REFRESH_INTERVAL_MS);
  if (data) onData(data);
  updateStaleness();
  if (isIndex) fetchSparklines();
}

function onData(data) {
  const begin = performance.now();
  ({ started, revision, tick, stopped, now } = data);
  ageAtResponse = data.age;
  receivedAt = respondedAt = begin;
  if (isIndex) updateIndexPage(data);
  else updatePluginPage(data);
  body.dataset.updateMs = (performance.now() - begin).toFixed(1);
}

// -- the age of the data -------------------------------------------------------------------------

const banner = $('banner');
let stopped = banner?.dataset.kind === 'stopped';
let errorText = null;
/** The age of the data when they were received. */
let ageAtResponse = Number(ageText?.dataset.age);
let receivedAt = performance.now();
/** When the server last sent data, or confirmed that these are current. */
let respondedAt = receivedAt;

/** Runs every second and after each response, because the age increases without new data. */
function updateStaleness() {
  const age = ageAtResponse + (performance.now() - receivedAt) / 1_000;
  const seconds = Math.floor(age);
  if (tick > 0) {
    const text = seconds < 120 ? `${seconds}\u00a0s`
      : seconds < 7_200 ? `${Math.floor(seconds / 60)}\u00a0min` : `${Math.floor(seconds / 3_600)}\u00a0h`;
    setText(ageText, `Data ${text} old`);
  }
  // At the last response: the data do not become stale while nothing is fetched, as when the page is
  // hidden. The limit is that of Snapshot::is_stale: three intervals and a second.
  const isStale = ageAtResponse + (respondedAt - receivedAt) / 1_000 > interval * 3 + 1;
  const kind = errorText ? 'disconnected' : stopped ? 'stopped' : isStale ? 'stale' : '';
  const text = errorText || (kind && banner.dataset[kind]) || '';
  // Screen readers read a live region out whenever it is written.
  setText(banner, text);
  setAttr(banner, 'data-kind', kind);
  banner.hidden = !kind;
  body.classList.toggle('stale', Boolean(kind));
}

