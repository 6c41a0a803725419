//! The HTTP door and the calls to customers: one thread with a tokio runtime of its own, beside the thread of the core.
//!
//! hyper reads and writes HTTP; the core decides. A request becomes a [`JasminRequest`] and goes to the core's mailbox, its answer comes back by a
//! channel of its own. No query, no header and no body is logged: a password stands in them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use warp_net::mailbox::Sender;

use super::Note;
use super::caller::Caller;
use crate::config::Config;
use crate::core::Call;
use crate::core::jasmin::args::{self, form_of};
use crate::core::jasmin::{Form, JasminReply, Refusal};
use crate::metrics::{Metrics, StatusClass};

/// Bytes of a request's head.
const HEAD: usize = 16_384;

pub(super) struct Web {
    pub(super) config: Arc<Config>,
    pub(super) metrics: Metrics,
    pub(super) sender: Sender<Note>,
    pub(super) listener: Option<std::net::TcpListener>,
    pub(super) calls: mpsc::UnboundedReceiver<Call>,
}

impl Web {
    /// Serves until the core's thread is gone.
    pub(super) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => tracing::error!(%error, "no runtime for the HTTP door"),
        }
    }

    async fn serve(self) {
        let Web { config, metrics, sender, listener, mut calls } = self;
        let caller = Arc::new(Caller::new(&config.callbacks));
        if let Some(listener) = listener {
            let door = Arc::new(Door { config, metrics, sender: sender.clone() });
            tokio::spawn(accept(listener, door));
        }
        while let Some(call) = calls.recv().await {
            let (caller, sender) = (Arc::clone(&caller), sender.clone());
            tokio::spawn(async move {
                let taken = caller.call(&call).await;
                let note = Note::Called { key: call.key, lane: call.lane, taken };
                send(&sender, note).await;
            });
        }
    }
}

/// Puts a note into the core's mailbox, and waits while that is full.
async fn send(sender: &Sender<Note>, mut note: Note) {
    while let Err(warp_net::mailbox::SendError::Full(again)) = sender.send(note) {
        note = again;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Door {
    config: Arc<Config>,
    metrics: Metrics,
    sender: Sender<Note>,
}

async fn accept(listener: std::net::TcpListener, door: Arc<Door>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the HTTP door cannot listen"),
    };
    let slots = Arc::new(Semaphore::new(door.config.limits.http_connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors: the listener stays readable, so without a rest this would be a busy loop (F-PROC-07).
                tracing::warn!(%error, "the HTTP door cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let _slot = slot;
            connection(stream, peer, door).await;
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, door: Arc<Door>) {
    let _ = stream.set_nodelay(true);
    let patience = door.config.limits.http_patience;
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.respond(request, peer).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        // Its display has no bytes of the request.
        tracing::debug!(%error, "a connection of the HTTP door ended");
    }
}

impl Door {
    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Text> {
        let path = request.uri().path().to_owned();
        if path == "/ping" {
            return self.response(200, "text/plain", "Jasmin/PONG".to_owned());
        }
        let form = form_of(&path);
        let answer = match form {
            None => JasminReply::Refused(Refusal::Path),
            Some(_) if !matches!(*request.method(), Method::GET | Method::POST) => {
                JasminReply::Refused(Refusal::Method)
            }
            Some(_) => self.answer(request, &path, peer).await.unwrap_or_else(JasminReply::Refused),
        };
        // The rest of a body that was not read is no next request.
        let close = matches!(answer, JasminReply::Refused(Refusal::TooLarge | Refusal::Slow));
        let (status, kind, body) = answer.write(form.unwrap_or(Form::Quoted));
        let mut response = self.response(status, kind, body);
        if close {
            response.headers_mut().insert(CONNECTION, hyper::header::HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        path: &str,
        peer: SocketAddr,
    ) -> Result<JasminReply, Refusal> {
        let (head, body) = request.into_parts();
        let limits = self.config.limits;
        let body = match tokio::time::timeout(limits.http_patience, read(body, limits.http_body)).await {
            Ok(body) => body?,
            Err(_) => return Err(Refusal::Slow),
        };
        let header =
            |name: HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let request = args::Request {
            path,
            query: head.uri.query().unwrap_or_default().as_bytes(),
            content_type: header(CONTENT_TYPE),
            authorization: header(AUTHORIZATION),
            body: &body,
        };
        let ask = args::read(&request, self.config.http_parts)?;
        let (reply, answered) = oneshot::channel();
        let note = Note::Ask { source: peer.ip().to_canonical(), ask: Box::new(ask), reply };
        if self.sender.send(note).is_err() {
            return Err(Refusal::Full);
        }
        answered.await.map_err(|_| Refusal::Storage)
    }

    fn response(&self, status: u16, kind: &'static str, body: String) -> Response<Text> {
        self.metrics.http_requests.inc(match status {
            200..=299 => StatusClass::Success,
            400..=499 => StatusClass::Client,
            _ => StatusClass::Server,
        });
        let mut response = Response::new(Text(Some(Bytes::from(body))));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    }
}

/// A body whole. Errors: it has more than `most` bytes, or broke off.
async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Refusal::Slow)?;
        if let Ok(data) = frame.into_data() {
            if bytes.len().saturating_add(data.len()) > most {
                return Err(Refusal::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// A body in one piece.
pub(super) struct Text(pub(super) Option<Bytes>);

impl Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
