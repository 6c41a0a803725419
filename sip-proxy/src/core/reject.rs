//! Responses of our own: refusals, challenges, 100 Trying, answers to OPTIONS.
//!
//! What is refused before a transaction exists is answered statelessly, with the same bytes for the same request, so that a
//! repetition costs nothing to remember (G-3). Strangers never get more than twice the bytes that they sent (T-SIP-13).

use warp_sip::flow::Flow;
use warp_sip::message::{Message, Method, ParseError, ResponseDraft};
use warp_sip::transaction::ServerInput;

use super::route;
use super::slab::Id;
use super::transactions::Transactions;
use super::types::{Mode, Output};

impl Transactions {
    /// Answers without a transaction. Never to ACK. False when nothing was sent: an answer to a stranger would be too long (T-SIP-13).
    pub(super) fn refuse(
        &mut self,
        flow: &Flow,
        msg: &Message<'_>,
        status: u16,
        reason: &str,
        headers: &[(&str, &[u8])],
        stranger: bool,
    ) -> bool {
        if msg.method() == Method::Ack {
            return false;
        }
        let mut buf = self.take_buf();
        let tag = self.tag_for(msg);
        let (config, mut named) = (self.config.clone(), Vec::new());
        let headers = with_server(&config.server_name, headers, &mut named);
        ResponseDraft { status, reason, to_tag: Some(&tag), source: Some(flow.remote), headers, body: None }
            .write(msg, &mut buf);
        if stranger && !flow.transport.is_reliable() && buf.len() > 2 * msg.bytes().len() {
            self.give_buf(buf);
            return false;
        }
        self.transmit(route::reply_flow(msg, flow), buf);
        true
    }

    /// A message that the parser refused: answered when it can be. A stranger's stream is closed; a known peer's goes on,
    /// for one odd message must not take the other calls of a shared connection with it. (Framing faults close any
    /// stream: the server's framer sees those first, T-SIP-04.)
    pub(super) fn on_malformed(&mut self, flow: Flow, bytes: &[u8], error: &ParseError, stranger: bool) {
        if error.status.is_some() {
            let mut buf = self.take_buf();
            let answer = ResponseDraft { source: Some(flow.remote), ..ResponseDraft::new(400) };
            let written = answer.broken(bytes, error, &mut buf);
            if written && (!stranger || buf.len() <= 2 * bytes.len()) {
                // Without a readable Via port the source address is the only one that can be right.
                self.transmit(flow, buf);
            } else {
                self.give_buf(buf);
            }
        }
        if stranger && flow.transport.is_reliable() {
            self.out.push_back(Output::CloseFlow(flow));
        }
    }

    /// 100 Trying, made of the request at hand.
    pub(super) fn trying(&mut self, server: Id, flow: &Flow, msg: &Message<'_>) {
        let mut buf = self.take_buf();
        ResponseDraft { source: Some(flow.remote), ..ResponseDraft::new(100) }.write(msg, &mut buf);
        self.send_response(server, 100, buf);
    }

    /// Answers a server transaction with a response of our own.
    pub(super) fn answer(&mut self, server: Id, status: u16, reason: &str, headers: &[(&str, &[u8])]) {
        let Some(txn) = self.table.servers.get_mut(server) else {
            return;
        };
        let request = std::mem::take(&mut txn.request);
        let source = txn.source;
        if let Ok(msg) = Message::parse(&request) {
            let mut buf = self.take_buf();
            let tag = self.tag_for(&msg);
            let (config, mut named) = (self.config.clone(), Vec::new());
            let headers = with_server(&config.server_name, headers, &mut named);
            ResponseDraft { status, reason, to_tag: Some(&tag), source: Some(source), headers, body: None }
                .write(&msg, &mut buf);
            if let Some(txn) = self.table.servers.get_mut(server) {
                txn.request = request;
            }
            self.send_response(server, status, buf);
        }
    }

    /// Hands a finished response to a server transaction, which sends it when its state allows.
    pub(super) fn send_response(&mut self, server: Id, status: u16, bytes: Vec<u8>) {
        let Some(txn) = self.table.servers.get_mut(server) else {
            self.give_buf(bytes);
            return;
        };
        let actions = txn.machine.on_input(ServerInput::Respond(status), &self.config.timers, self.now.mono);
        let (flow, method) = (txn.flow, txn.method);
        // What may have to be said again: everything but 2xx to INVITE, which the callee itself repeats (with the relay's SDP
        // in it, our copy is the one to repeat).
        let callee_repeats =
            txn.method == Method::Invite && (200..300).contains(&status) && self.config.mode != Mode::Policy;
        // The same on a stream: reliability of a 2xx is end to end (RFC 3261 §13.3.1.4), and the callee may be on another transport.
        let ours = txn.method == Method::Invite && (200..300).contains(&status) && !callee_repeats;
        let keep = !callee_repeats && (ours || !flow.transport.is_reliable());
        if txn.stranger
            && status >= 300
            && let super::table::ServerMachine::Invite(m) = &mut txn.machine
        {
            m.hush(); // T-SIP-13: failures are not repeated to strangers
        }
        if actions.contains(warp_sip::transaction::Action::Send) {
            let over = status >= 200;
            let request = if over { std::mem::take(&mut txn.request) } else { Vec::new() };
            let former = if keep || over { std::mem::take(&mut txn.response) } else { Vec::new() };
            self.give_buf(request);
            self.give_buf(former);
            if keep {
                let copy = self.copy_buf(&bytes);
                if let Some(txn) = self.table.servers.get_mut(server) {
                    txn.response = copy;
                }
            }
            self.transmit_response(flow, bytes, status, method);
        } else {
            self.give_buf(bytes);
        }
        self.after_server(server, actions);
    }

    /// Our tag for responses to this request: 96 bits that only we can compute, the same for its repetitions (T-SIP-11).
    pub(super) fn tag_for(&self, msg: &Message<'_>) -> [u8; TAG] {
        let h = self.shared.keyed.hash128(&[
            b"tag",
            msg.call_id(),
            msg.from_tag().unwrap_or(b""),
            msg.top_via().branch.unwrap_or(b""),
        ]);
        let mut tag = [0; TAG];
        hex(h >> 32, &mut tag);
        tag
    }

    /// 200 to an OPTIONS that is about us; 503 when draining, so that peers send their calls elsewhere (F-UPG-01).
    pub(super) fn answer_options(&mut self, flow: &Flow, msg: &Message<'_>, stranger: bool) {
        if self.shared.is_draining() {
            self.refuse(flow, msg, 503, "", &[("Retry-After", b"30")], stranger);
            return;
        }
        let headers: &[(&str, &[u8])] = &[
            ("Accept", b"application/sdp"),
            ("Allow", b"INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY"),
        ];
        self.refuse(flow, msg, 200, "", headers, stranger);
    }
}

/// Characters of our tags.
pub(super) const TAG: usize = 24;

/// The headers with our `Server` line, when we have a name.
fn with_server<'x>(
    name: &'x str,
    headers: &'x [(&'x str, &'x [u8])],
    named: &'x mut Vec<(&'x str, &'x [u8])>,
) -> &'x [(&'x str, &'x [u8])] {
    if name.is_empty() {
        return headers;
    }
    named.extend_from_slice(headers);
    named.push(("Server", name.as_bytes()));
    named
}

/// Lower-case hexadecimal of the low bits, as many digits as fit into `out`.
pub(super) fn hex(mut n: u128, out: &mut [u8]) {
    for slot in out.iter_mut().rev() {
        *slot = b"0123456789abcdef"[(n & 15) as usize];
        n >>= 4;
    }
}

/// The number that [`hex`] has written.
pub(super) fn unhex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |n, b| {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | u64::from(digit))
    })
}
