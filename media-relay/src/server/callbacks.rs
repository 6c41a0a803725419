//! Tells ng clients by XML-RPC that the media of a call has timed out (T-RTP-10): a thread of its own, because HTTP waits.
//!
//! Bounded: [`WAITING`] calls wait for it, more are counted as dropped; a peer that does not answer holds it up for seconds, not
//! for ever. Each is tried twice. The control thread never waits for it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use warp_net::clock::Clock;

use super::notices::Notices;
use crate::core::callback::{CallbackUrl, bodies};
use crate::metrics::{CallbackResult, Metrics};

/// Calls that may wait to be told of.
const WAITING: usize = 4_096;
/// For a connection, and for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads of an answer at most, and bytes looked at.
const READS: usize = 16;
const ANSWER_BYTES: usize = 16_384;
const TRIES: usize = 2;
/// How soon a stop is seen.
const LOOK: Duration = Duration::from_millis(100);

/// A call that has timed out.
pub(crate) struct Told {
    pub(crate) client: IpAddr,
    pub(crate) call_id: Vec<u8>,
    pub(crate) tags: Vec<[Vec<u8>; 2]>,
}

/// The way to the thread. It ends soon after this is dropped; calls that wait are then told to nobody.
pub(crate) struct Callbacks {
    sender: SyncSender<Told>,
    is_over: Arc<AtomicBool>,
    metrics: Metrics,
}

/// The thread's work.
pub(crate) struct Caller {
    url: CallbackUrl,
    format: u8,
    waiting: Receiver<Told>,
    is_over: Arc<AtomicBool>,
    metrics: Metrics,
    notices: Notices,
}

/// A bounded queue of notices: the end that tells, and the end that calls the client at `url`.
pub(crate) fn callbacks(url: CallbackUrl, format: u8, metrics: Metrics) -> (Callbacks, Caller) {
    let (sender, waiting) = sync_channel(WAITING);
    let is_over = Arc::new(AtomicBool::new(false));
    let ours = Callbacks { sender, is_over: Arc::clone(&is_over), metrics: metrics.clone() };
    (ours, Caller { url, format, waiting, is_over, metrics, notices: Notices::default() })
}

impl Callbacks {
    /// Hands a notice over without waiting; one that finds the queue full is dropped and counted.
    pub(crate) fn tell(&self, told: Told) {
        if self.sender.try_send(told).is_err() {
            self.metrics.callbacks.inc(CallbackResult::Dropped);
        }
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Caller {
    /// Until the other end is dropped.
    pub(crate) fn run(&mut self) {
        while !self.is_over.load(Ordering::Relaxed) {
            match self.waiting.recv_timeout(LOOK) {
                Ok(told) => self.call(&told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn call(&mut self, told: &Told) {
        for body in bodies(self.format, &told.call_id, &told.tags) {
            let mut done = Err(io::ErrorKind::NotConnected.into());
            for _ in 0..TRIES {
                done = self.post(told.client, &body);
                if done.is_ok() || self.is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            let Err(error) = done else {
                self.metrics.callbacks.inc(CallbackResult::Ok);
                continue;
            };
            self.metrics.callbacks.inc(CallbackResult::Failed);
            if let Some(times) = self.notices.due(b"callback", Clock::mono()) {
                let (call_id, client) = (told.call_id.escape_ascii(), told.client);
                tracing::warn!(%call_id, %client, %error, times, "b2b_url could not be told of a media time-out");
            }
        }
    }

    fn post(&self, client: IpAddr, body: &str) -> io::Result<()> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let (host, port) = self.url.target(client);
        for address in (host.as_str(), port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return exchange(stream, &self.url.request(client, body)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Sends the request; an answer of 200 without a fault is success.
fn exchange(mut stream: TcpStream, request: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    for _ in 0..READS {
        let text = String::from_utf8_lossy(&answer);
        if answer.len() >= ANSWER_BYTES || text.contains("</methodResponse>") {
            break;
        }
        match stream.read(&mut buffer)? {
            0 => break,
            len => answer.extend_from_slice(buffer.get(..len).unwrap_or_default()),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let mut status = text.lines().next().unwrap_or_default().split(' ');
    let is_http = status.next().is_some_and(|version| version.starts_with("HTTP/1."));
    match status.next() {
        Some("200") if is_http && !text.contains("<fault>") => Ok(()),
        Some("200") if is_http => Err(io::Error::other("it answered with a fault")),
        code => Err(io::Error::other(format!("it answered {}", code.unwrap_or("no HTTP")))),
    }
}
