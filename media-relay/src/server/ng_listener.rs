//! ng over UDP: datagrams in, replies out, with the cookie cache (T-NG-02, T-NG-03). Carries out nothing itself.

use std::net::SocketAddr;

use warp_model::Mono;
use warp_model::limits::NG_BYTES;
use warp_net::batch::{RecvBatch, RecvOutcome};
use warp_net::epoll::{Epoll, Interest};
use warp_net::udp::{UdpOptions, UdpSocket};
use warp_ng::codec::{NgError, decode_request, encode_reply};
use warp_ng::cookie::Channel;
use warp_ng::{Command, CookieCache, Reply};

use super::notices::Notices;
use crate::config::Config;
use crate::metrics::{Metrics, NgCommand, NgResult};

/// Datagrams taken per wake-up, so that in-process commands get their turn.
const DATAGRAMS: usize = 64;
/// Datagrams read at once.
const LOT: usize = 16;

/// Why a document is no command.
pub(super) struct Refused(pub(super) &'static str);

/// The listener; see the module.
pub(super) struct NgListener {
    socket: UdpSocket,
    cookies: CookieCache,
    lot: RecvBatch,
    /// The next of the lot.
    at: usize,
    out: Vec<u8>,
    config: Config,
    notices: Notices,
}

impl NgListener {
    /// Binds `at` and watches it under `token`.
    pub(super) fn bind(at: SocketAddr, config: &Config, epoll: &Epoll, token: u64) -> std::io::Result<Self> {
        let options =
            UdpOptions { receive_buffer: Some(4 << 20), send_buffer: Some(4 << 20), reuse_port: false };
        let socket = UdpSocket::bind(at, &options)?;
        epoll.add(&socket, token, Interest::READ)?;
        Ok(Self {
            socket,
            cookies: CookieCache::default(),
            lot: RecvBatch::new(LOT, 65_536),
            at: 0,
            out: Vec::new(),
            config: config.clone(),
            notices: Notices::default(),
        })
    }

    /// Where it listens.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Something was read and not yet looked at: a panic came between.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.lot.len()
    }

    /// Reads what waits; `carry_out` gets each command (or why it is none) with its source once, repeated cookies get the stored answer.
    pub(super) fn serve(
        &mut self,
        metrics: &Metrics,
        now: Mono,
        mut carry_out: impl FnMut(Result<Command, Refused>, SocketAddr) -> Reply,
    ) {
        let mut has_read = false;
        for _ in 0..DATAGRAMS {
            if !self.has_more() {
                if std::mem::replace(&mut has_read, true) && self.lot.len() < self.lot.capacity() {
                    return;
                }
                self.at = 0;
                match self.lot.recv(&self.socket) {
                    RecvOutcome::Datagrams(_) => {}
                    RecvOutcome::Empty => return,
                    RecvOutcome::Error(_) => continue,
                }
            }
            let at = self.at;
            // Before anything is done with it: what panics is not tried again.
            self.at = self.at.saturating_add(1);
            let Some((datagram, from)) = self.lot.datagram(at) else { continue };
            if !self.config.ng_allows(from.ip()) {
                metrics.ng_requests.inc((NgCommand::Bad, NgResult::Error));
                continue;
            }
            self.out.clear();
            match decode_request(datagram) {
                Err(NgError::NoCookie) => metrics.ng_requests.inc((NgCommand::Bad, NgResult::Error)),
                Err(NgError::Bad { cookie, encoding, reason }) => {
                    metrics.ng_requests.inc((NgCommand::Bad, NgResult::Error));
                    let reply = carry_out(Err(Refused(reason)), from);
                    encode_reply(cookie, encoding, false, &reply, &mut self.out);
                }
                Ok(request) => {
                    let name = command_label(&request.command);
                    if let Some(kept) = self.cookies.repeat(Channel::Udp, from, request.cookie, now) {
                        metrics.ng_requests.inc((name, NgResult::Repeated));
                        self.socket.send_to(&kept, from);
                        continue;
                    }
                    for ignored in &request.ignored {
                        if let Some(times) = self.notices.due(ignored, now) {
                            let name = ignored.escape_ascii();
                            tracing::info!(%name, %from, times, "ng key or flag is not carried out");
                        }
                    }
                    let reply = carry_out(Ok(request.command), from);
                    encode_reply(request.cookie, request.encoding, request.load_limit, &reply, &mut self.out);
                    if self.out.len() > NG_BYTES {
                        // The command has been carried out: say at least that.
                        self.out.clear();
                        let short = too_large(&reply);
                        encode_reply(
                            request.cookie,
                            request.encoding,
                            request.load_limit,
                            &short,
                            &mut self.out,
                        );
                    }
                    self.cookies.keep(Channel::Udp, from, request.cookie, &self.out, now);
                }
            }
            if !self.out.is_empty() {
                // A reply that cannot be sent is asked for again.
                self.socket.send_to(&self.out, from);
            }
        }
    }
}

/// Instead of a reply that does not fit in a datagram.
pub(super) fn too_large(reply: &Reply) -> Reply {
    const TEXT: &str = "Reply does not fit in a datagram";
    match reply {
        Reply::Stats(_) => Reply::Ok { warning: Some(TEXT.into()) },
        _ => Reply::error(TEXT),
    }
}

/// The metric label of a command.
pub(super) fn command_label(command: &Command) -> NgCommand {
    match command {
        Command::Ping => NgCommand::Ping,
        Command::Offer(_) => NgCommand::Offer,
        Command::Answer(_) => NgCommand::Answer,
        Command::Delete(_) => NgCommand::Delete,
        Command::Query(_) => NgCommand::Query,
        Command::Keep(_) => NgCommand::Keep,
        Command::Play(_) => NgCommand::Play,
        Command::Record(_) => NgCommand::Record,
        Command::List { .. } => NgCommand::List,
        Command::Statistics => NgCommand::Statistics,
    }
}

/// The metric label of a reply.
pub(super) fn result_label(reply: &Reply) -> NgResult {
    match reply {
        Reply::Error { .. } => NgResult::Error,
        Reply::LoadLimit { .. } => NgResult::LoadLimit,
        _ => NgResult::Ok,
    }
}
