//! Endpoints of events: a list, one of them, and the stream of server-sent events (HTML Living Standard §9.2).
//!
//! A stream goes on behind the id in `Last-Event-ID` (or `after`). Who does not ask for `text/event-stream` gets what there is now and
//! the end of the answer. A stream ends after [`STREAM_LIVES`], so that a key that was revoked has none for longer; browsers come again by
//! themselves, with the last id. Who does not read for [`SLOW`] is left.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::Instant;
use warp_model::id::EventKind;
use warp_model::sync::lock;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::error::{ApiError, Code};
use crate::App;
use crate::app::events::{self, EventView, Follower, Start};
use crate::app::input::{Field, Ref};
use crate::app::permission::Permission;
use crate::outbox::Feed;

/// How long a stream lasts.
pub const STREAM_LIVES: Duration = Duration::from_secs(300);
/// A comment is sent after so long without an event, so that nobody on the way takes the connection to be dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take for the next piece.
const SLOW: Duration = Duration::from_secs(30);
/// Events that are read at once.
const AT_ONCE: i64 = 100;

/// The endpoints of one audience.
pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let (list, one, stream) = match audience {
        Audience::Customer => ("/api/v1/events", "/api/v1/events/{event_id}", "/api/v1/events/stream"),
        Audience::Operator => {
            ("/api/v1/admin/events", "/api/v1/admin/events/{event_id}", "/api/v1/admin/events/stream")
        }
    };
    let read = Access::Scope(audience, Permission::EventsRead);
    let mut listing = endpoint(Method::GET, list, read, "Events of the last 30 days, newest first", page)
        .lists::<EventView>();
    let mut streaming = endpoint(
        Method::GET,
        stream,
        read,
        "Events as they happen, as server-sent events; go on with Last-Event-ID",
        follow,
    )
    .raw("text/event-stream")
    .query(
        "after",
        Ref::<EventKind>::field_schema,
        "The last event that was seen, for whoever cannot send Last-Event-ID. Absent: what happens from now on.",
    );
    for (name, form, what) in events::filters(audience) {
        listing = listing.query(name, form, what);
        streaming = streaming.query(name, form, what);
    }
    vec![
        listing.query_of(
            "sort",
            &["-created_at", "created_at"],
            "Newest first (when absent), or oldest first. meta.last_cursor says where to read on later with `created_at`: no event \
             is missed. The first page of `-created_at` has the place of the newest one.",
        ),
        endpoint(Method::GET, one, read, "An event", get).gives::<EventView>(200),
        streaming,
    ]
}

async fn page(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let which = events::which(&ctx, r.caller()?.audience, |name| r.query(name))?;
    Reply::page(events::list(&ctx, &which, &r.paging()?).await?)
}

async fn get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&events::get(&r.ctx(&app)?, r.id("event_id", "event")?).await?)
}

async fn follow(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let caller = r.caller()?;
    let which = events::which(&ctx, caller.audience, |name| r.query(name))?;
    let start = Start::read(r.last_event_id.as_deref().or_else(|| r.query("after")))?;
    let full = || ApiError {
        retry_after_s: Some(10),
        ..ApiError::new(Code::RateLimited, "there are too many streams of events")
    };
    let place = Feed::stream(&app, caller.who).ok_or_else(full)?;
    let mut news = app.feed.follow();
    let mut follower = Follower::new(&ctx, which, start).await?;
    let (out, live) = Live::new();
    let goes_on = r.wants_stream;
    let app = app.clone();
    tokio::spawn(async move {
        let _place = place;
        let Ok(ctx) = r.ctx(&app) else { return };
        let ends = Instant::now() + STREAM_LIVES;
        let send = async |text: String| {
            matches!(tokio::time::timeout(SLOW, out.send(Bytes::from(text))).await, Ok(Ok(())))
        };
        while Instant::now() < ends {
            news.mark_unchanged();
            // A database that is away ends the stream; its reader comes again with the last id.
            let Ok(events) = follower.next(&ctx, AT_ONCE).await else { return };
            if !events.is_empty() {
                if !send(events.iter().map(written).collect()).await {
                    return;
                }
                continue;
            }
            if !goes_on || news.borrow().is_none() {
                return;
            }
            tokio::select! {
                told = news.changed() => if told.is_err() { return },
                () = tokio::time::sleep(KEEP_ALIVE) => if !send(":\n\n".to_owned()).await { return },
                () = out.closed() => return,
                () = tokio::time::sleep_until(ends) => return,
            }
        }
    });
    Ok(Reply::Stream { content_type: "text/event-stream", live })
}

/// An event as it stands in a stream. JSON has no line ends of its own.
fn written(event: &EventView) -> String {
    let json = serde_json::to_string(event).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.r#type)
}

/// A body that is sent while it is made.
#[derive(Clone, Debug)]
pub struct Live(Arc<Mutex<mpsc::Receiver<Bytes>>>);

impl Live {
    /// An empty body, and where its pieces are put.
    pub(super) fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(4);
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }
}

impl axum::body::HttpBody for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        lock(&self.0).poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
