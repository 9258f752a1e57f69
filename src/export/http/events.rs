//! The stream of server-sent events: one event for each new revision.
//!
//! The format is that of the HTML Living Standard, section 9.2 "Server-sent events".

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::to_json::to_json;
use crate::{Reader, Snapshot};

/// Without a publication, a heartbeat is sent after this time: proxies close a response without data
/// after a minute, and a client that is gone is detected by a write.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Events are at least this far apart. Publications in between are one event, because a client
/// fetches a document after each.
const MIN_EVENT_INTERVAL: Duration = Duration::from_millis(250);
/// The time after which a client connects again, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Becomes true when the server is to stop. A request without it belongs to a router of the host.
#[derive(Clone, Debug)]
pub(super) struct ServerStop(pub watch::Receiver<bool>);

impl ServerStop {
    async fn wait(mut self) {
        // An error means that the server is gone.
        let _ = self.0.wait_for(|&stopped| stopped).await;
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The body of a response: the events of one client.
pub(super) struct EventStream {
    reader: Reader,
    /// The revision that the client has.
    revision: u64,
    /// The start of the stream, until it is sent.
    start: Option<Bytes>,
    step: Step,
    heartbeat: Pin<Box<Sleep>>,
    stopped: Option<Boxed<()>>,
}

/// What the stream waits for.
enum Step {
    /// A snapshot that is newer than the client's.
    Newer(Boxed<Option<Snapshot>>),
    /// The time of the next event.
    Pause(Pin<Box<Sleep>>),
    /// Nothing: the collector has ended.
    End,
}

impl EventStream {
    /// The body for a client that has the snapshot `since`; the newest one if that is `None`.
    pub(super) fn body(reader: Reader, since: Option<u64>, stop: Option<ServerStop>) -> Body {
        let snapshot = reader.snapshot();
        // Also for a revision of an earlier collector, which may be higher.
        let is_behind = since.is_some_and(|since| since != snapshot.revision());
        let mut start = format!("retry: {RETRY_MS}\n\n").into_bytes();
        let step = if is_behind {
            start.extend(event(&snapshot));
            Step::Pause(Box::pin(sleep(MIN_EVENT_INTERVAL)))
        } else {
            Step::Newer(Box::pin(reader.changed(&snapshot)))
        };
        Body::new(Self {
            reader,
            revision: snapshot.revision(),
            start: Some(start.into()),
            step,
            heartbeat: Box::pin(sleep(HEARTBEAT_INTERVAL)),
            stopped: stop.map(|stop| Box::pin(stop.wait()) as Boxed<()>),
        })
    }

    /// The next part; `None` at the end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(start));
        }
        if let Some(part) = self.poll_event(cx) {
            self.heartbeat = Box::pin(sleep(HEARTBEAT_INTERVAL));
            return Poll::Ready(part);
        }
        ready!(self.heartbeat.as_mut().poll(cx));
        self.heartbeat = Box::pin(sleep(HEARTBEAT_INTERVAL));
        Poll::Ready(Some(Bytes::from_static(b"event: heartbeat\ndata: {}\n\n")))
    }

    /// The next event, or the end; `None` if there is none yet.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Option<Option<Bytes>> {
        loop {
            match &mut self.step {
                Step::Newer(newer) => {
                    let Poll::Ready(newer) = newer.as_mut().poll(cx) else { return None };
                    let Some(snapshot) = newer else {
                        self.step = Step::End;
                        continue;
                    };
                    self.revision = snapshot.revision();
                    self.step = Step::Pause(Box::pin(sleep(MIN_EVENT_INTERVAL)));
                    return Some(Some(event(&snapshot)));
                }
                Step::Pause(pause) => {
                    let Poll::Ready(()) = pause.as_mut().poll(cx) else { return None };
                    let newest = self.reader.snapshot();
                    if newest.revision() > self.revision {
                        self.revision = newest.revision();
                        self.step = Step::Pause(Box::pin(sleep(MIN_EVENT_INTERVAL)));
                        return Some(Some(event(&newest)));
                    }
                    self.step = Step::Newer(Box::pin(self.reader.changed(&newest)));
                }
                Step::End => return Some(None),
            }
        }
    }
}

/// The event of a revision. The client sends its id when it connects again.
fn event(snapshot: &Snapshot) -> Bytes {
    #[derive(serde::Serialize)]
    struct Data {
        tick: u64,
        revision: u64,
        stopped: bool,
    }
    let (tick, revision) = (snapshot.tick(), snapshot.revision());
    let data = to_json(&Data { tick, revision, stopped: snapshot.is_stopped() });
    let mut out = format!("id: {revision}\nevent: revision\ndata: ").into_bytes();
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
    out.into()
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_part(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("revision", &self.revision).finish_non_exhaustive()
    }
}
