//! Us as the user agent client of a vendor that challenges (RFC 3261 §22.2, RFC 7616): a new CSeq for each try, numbers that stay consistent on
//! both sides for the rest of the dialog, credentials for that trunk's addresses and realm only (T-SIP-10).
//!
//! The caller's numbers pass unchanged until the first challenge, or until a further INVITE goes to a platform that has seen one of this
//! call. From then on the vendor's are ahead: whatever names one of them (CSeq, RAck, `Event: refer;id=`) is put into the numbers of the
//! side that it goes to.
//!
//! A realm is the trunk's configured one. Where none is configured it is the one that challenges the INVITE of a dialog: the node that we
//! sent it to speaks before it lets the call in, so that is the vendor and not whom it leads to. No other challenge of that dialog is
//! answered, and none at all where the INVITE was not challenged: it may come from the called party, who could guess at the password with
//! what we answer.

use warp_policy::VendorTrunk;
use warp_policy::directory::Credentials;
use warp_sip::digest::{self, Algorithm, Challenge, Ha1};
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method};

use super::answer::Heard;
use super::call::{Call, Phase};
use super::calls::Calls;
use super::reject::hex;
use super::slab::Id;
use super::table::Owner;
use super::transactions::Transactions;

/// Requests whose numbers others name later: the last so many INVITEs, REFERs and SUBSCRIBEs.
const RECENT: usize = 8;
/// Challenges of one request that are answered: the first, and two more that only say that the nonce is too old.
const TRIES: u8 = 3;
/// Bytes of a nonce, realm or opaque that is kept.
const KEPT: usize = 1_024;

/// Numbers and credentials towards the vendor of one branch.
#[derive(Debug, Default)]
pub(crate) struct Uac {
    /// Highest number sent to the vendor.
    highest: u32,
    /// How far new numbers of the vendor are ahead of the caller's.
    ahead: u32,
    /// The caller's number and the vendor's.
    recent: [(u32, u32); RECENT],
    next: usize,
    /// The one that challenged the INVITE of this dialog; without a configured one no other gets credentials.
    realm: Option<Box<[u8]>>,
    nonce: Option<Nonce>,
    /// What the last INVITE carried: its ACK repeats it (RFC 3261 §22.1).
    invite: Option<(Header, Vec<u8>)>,
}

/// A nonce that the vendor has accepted, or asked to be used.
#[derive(Debug)]
struct Nonce {
    header: Header,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Algorithm,
    qop_auth: bool,
    count: u32,
}

/// A header line of ours: its name and value.
pub(crate) type Signature = (Header, Vec<u8>);

impl Uac {
    /// For a further INVITE of `caller`'s number to a platform that was told `highest` in this call before. It must not have the number of the
    /// one before: what is not over yet there, or not forgotten, makes it a merged request (RFC 3261 §8.2.2.2), which is 482.
    pub(crate) fn after(highest: u32, caller: u32) -> Uac {
        Uac { ahead: highest.saturating_add(1).saturating_sub(caller), ..Uac::default() }
    }

    /// The realm that has our credentials.
    pub(crate) fn realm(&self) -> Option<Box<[u8]>> {
        self.realm.clone()
    }

    /// The vendor's number of a request that the caller sends.
    pub(crate) fn number(&mut self, caller: u32, method: Method) -> u32 {
        let there = caller.saturating_add(self.ahead);
        self.note(caller, there, method);
        there
    }

    /// The vendor's number of one that was sent before.
    pub(crate) fn of(&self, caller: u32) -> u32 {
        let found = self.recent.iter().find(|(here, there)| *here == caller && *there > 0);
        found.map_or(caller.saturating_add(self.ahead), |(_, there)| *there)
    }

    /// The caller's number of one that the vendor names.
    pub(crate) fn back(&self, vendor: u32) -> u32 {
        let found = self.recent.iter().find(|(_, there)| *there == vendor && *there > 0);
        found.map_or(vendor.saturating_sub(self.ahead), |(here, _)| *here)
    }

    /// A further number for the same request of the caller, or for one of our own.
    pub(crate) fn again(&mut self, caller: Option<u32>, method: Method) -> u32 {
        let there = self.highest.saturating_add(1);
        match caller {
            Some(caller) => {
                self.ahead = self.ahead.max(there.saturating_sub(caller));
                self.note(caller, there, method);
            }
            None => self.highest = there,
        }
        there
    }

    /// Highest number sent.
    pub(crate) fn highest(&self) -> u32 {
        self.highest
    }

    fn note(&mut self, caller: u32, there: u32, method: Method) {
        self.highest = self.highest.max(there);
        if !matches!(method, Method::Invite | Method::Refer | Method::Subscribe) {
            return;
        }
        let at = match self.recent.iter().position(|(here, _)| *here == caller) {
            Some(at) => at,
            None => {
                self.next = (self.next + 1) % RECENT;
                self.next
            }
        };
        if let Some(slot) = self.recent.get_mut(at) {
            *slot = (caller, there);
        }
    }

    /// Credentials for a further request, when the vendor has challenged before: no need to be asked again.
    pub(crate) fn sign(
        &mut self,
        trunk: &VendorTrunk,
        flow: &Flow,
        method: Method,
        uri: &[u8],
        tx: &mut Transactions,
    ) -> Option<Signature> {
        let own = own_credentials(trunk, flow, tx)?;
        let (n, realm) = (self.nonce.as_mut()?, self.realm.as_deref()?);
        n.count = n.count.saturating_add(1);
        let challenge = Challenge {
            realm,
            nonce: &n.nonce,
            algorithm: n.algorithm,
            qop_auth: n.qop_auth,
            opaque: n.opaque.as_deref(),
            stale: false,
        };
        let value = respond(own, &challenge, method, uri, n.count, tx);
        let signature = (n.header, value);
        self.signed(method, &signature);
        Some(signature)
    }

    /// The credentials of the INVITE that an ACK is for.
    pub(crate) fn of_ack(&self) -> Option<&Signature> {
        self.invite.as_ref()
    }

    /// A request that is no INVITE had to be signed, or an INVITE.
    fn signed(&mut self, method: Method, signature: &Signature) {
        if method == Method::Invite {
            self.invite = Some(signature.clone());
        }
    }

    /// The next nonce, when a response names one (RFC 7616 §3.5).
    pub(crate) fn listen(&mut self, msg: &Message<'_>) {
        let Some(n) = self.nonce.as_mut() else {
            return;
        };
        let name: &[u8] = match n.header {
            Header::Authorization => b"Authentication-Info",
            _ => b"Proxy-Authentication-Info",
        };
        if let Some(next) = msg.header_named(name).and_then(next_nonce) {
            n.nonce = next.to_vec();
            n.count = 0;
        }
    }
}

/// Value of `nextnonce` in an Authentication-Info header.
fn next_nonce(value: &[u8]) -> Option<&[u8]> {
    value.split(|b| *b == b',').find_map(|part| {
        let (name, text) = part.trim_ascii().split_at_checked(b"nextnonce=".len())?;
        if !name.eq_ignore_ascii_case(b"nextnonce=") {
            return None;
        }
        let text = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""))?;
        (!text.is_empty() && text.len() <= KEPT && !text.contains(&b'"')).then_some(text)
    })
}

/// T-SIP-10: credentials of a trunk go to its own addresses only: where its INVITEs go, and the other nodes of its platform.
fn own_credentials<'t>(trunk: &'t VendorTrunk, flow: &Flow, tx: &Transactions) -> Option<&'t Credentials> {
    let ip = flow.remote.ip();
    trunk.credentials.as_ref().filter(|_| trunk.is_own(ip) || tx.is_named(trunk, ip))
}

fn respond(
    own: &Credentials,
    challenge: &Challenge<'_>,
    method: Method,
    uri: &[u8],
    count: u32,
    tx: &mut Transactions,
) -> Vec<u8> {
    let (user, password) = (own.username.as_bytes(), own.password.reveal().as_bytes());
    let ha1 = Ha1::new(challenge.algorithm, user, challenge.realm, password);
    let mut cnonce = [0; 16];
    hex(u128::from(tx.rng.u64()), &mut cnonce);
    let mut value = Vec::with_capacity(400);
    digest::respond(challenge, user, &ha1, method.token().as_bytes(), uri, &cnonce, count, &mut value);
    value
}

/// The best challenge for one realm; of all realms, when none is named.
fn challenge_of<'m>(msg: &Message<'m>, realm: Option<&[u8]>) -> Option<(Header, Challenge<'m>)> {
    let (ask, answer) = match msg.status()? {
        401 => (Header::WwwAuthenticate, Header::Authorization),
        407 => (Header::ProxyAuthenticate, Header::ProxyAuthorization),
        _ => return None,
    };
    let ours = |c: &Challenge<'_>| realm.is_none_or(|r| r == c.realm);
    let lengths =
        |c: &Challenge<'_>| [c.realm, c.nonce, c.opaque.unwrap_or(b"")].iter().all(|part| part.len() <= KEPT);
    let all = msg.lines_of(ask).filter_map(|v| Challenge::parse(v).ok());
    // SHA-256 before MD5 (RFC 8760 §2.4); of equals the first.
    let best =
        all.filter(|c| ours(c) && lengths(c)).reduce(|a, b| if b.algorithm > a.algorithm { b } else { a });
    Some((answer, best?))
}

impl Calls {
    /// A vendor challenges a request of ours: the same again, with credentials and the next number. False: it is not ours to answer.
    pub(super) fn answer_challenge(
        &mut self,
        heard: &Heard,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) -> bool {
        let call = match heard.owner {
            Owner::Branch { call, .. } | Owner::InDialog { call, .. } => call,
            Owner::Ours => return self.try_again(heard, None, msg, tx),
            Owner::Server(_) | Owner::Fork { .. } | Owner::Call(_) | Owner::Probe(_) => return false,
        };
        self.with_call(call, tx, |calls, call, tx| calls.try_again(heard, Some(call), msg, tx))
            .unwrap_or_else(|| self.try_again(heard, None, msg, tx))
    }

    fn try_again(
        &mut self,
        heard: &Heard,
        call: Option<&mut Call>,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) -> bool {
        let Some(txn) = tx.table.clients.get(heard.client) else {
            return false;
        };
        let (flow, tries, vendor, theirs) = (txn.flow, txn.tries, txn.vendor, txn.realm.clone());
        if txn.cancel.wanted() || tries >= TRIES || txn.request.is_empty() {
            return false;
        }
        let snapshot = match &call {
            Some(call) => Some(call.snapshot.clone()),
            None => tx.snapshot.clone(),
        };
        let (Some(snapshot), Some(vendor)) = (snapshot, vendor) else {
            return false;
        };
        let directory = &snapshot.directory;
        let trunk = directory.vendor_trunk_ix(vendor).and_then(|ix| directory.vendor_trunk(ix));
        let Some((own, trunk)) = trunk.and_then(|t| Some((own_credentials(t, &flow, tx)?, t))) else {
            return false;
        };
        let mut call = call;
        // A branch that is given up is not tried again.
        if let (Owner::Branch { branch, .. }, Some(call)) = (heard.owner, &call) {
            let open = call.branches.get(usize::from(branch)).is_some_and(|b| b.open);
            if !open || call.cancelled || matches!(call.phase, Phase::Answered | Phase::Over) {
                return false;
            }
        }
        let mut none = Uac::default();
        let known = call.as_deref_mut().and_then(|c| c.branches.last_mut()).map(|b| &mut b.uac);
        let ours = known.is_some();
        let uac = known.unwrap_or(&mut none);
        let kept = if ours { uac.realm.as_deref() } else { theirs.as_deref() };
        let realm = own.realm.as_ref().map(|r| r.as_bytes()).or(kept);
        // T-SIP-10: only the INVITE of a dialog teaches a realm.
        if realm.is_none() && !matches!(heard.owner, Owner::Branch { .. }) {
            return false;
        }
        let Some((header, challenge)) = challenge_of(msg, realm) else {
            return false;
        };
        if tries > 0 && !challenge.stale {
            return false;
        }
        let kept = tx.table.clients.get(heard.client).map_or_else(Vec::new, |t| t.request.clone());
        let Ok(request) = Message::parse(&kept) else {
            return false;
        };
        let method = request.method();
        let asked = match heard.owner {
            Owner::Branch { .. } => call.as_deref().map(|c| c.invite_cseq),
            Owner::InDialog { server, .. } => tx.table.servers.get(server).map(|t| t.cseq),
            _ => None,
        };
        let known = call.as_deref_mut().and_then(|c| c.branches.last_mut()).map(|b| &mut b.uac);
        let uac = known.unwrap_or(&mut none);
        let number = match ours {
            true => uac.again(asked, method),
            false => request.cseq().0.saturating_add(1),
        };
        let value = respond(own, &challenge, method, request.request_uri().unwrap_or(b""), 1, tx);
        let signature = (header, value);
        let Some(client) = tx.send_again(heard.client, &request, number, &signature, challenge.realm) else {
            return false;
        };
        uac.realm = Some(challenge.realm.into());
        uac.nonce = Some(Nonce {
            header,
            nonce: challenge.nonce.to_vec(),
            opaque: challenge.opaque.map(<[u8]>::to_vec),
            algorithm: challenge.algorithm,
            qop_auth: challenge.qop_auth,
            count: 1,
        });
        uac.signed(method, &signature);
        let health = match &call {
            Some(call) => directory.vendor_trunk_ix(trunk.id).and_then(|ix| call.health.of(ix)).cloned(),
            None => tx.shared.health.of(trunk.id),
        };
        if let Some(health) = health {
            health.alive(tx.now.mono);
        }
        match (heard.owner, call) {
            (Owner::Branch { branch, .. }, Some(call)) => {
                if let Some(txn) = tx.table.servers.get_mut(call.server) {
                    txn.client = Some(client);
                }
                if let Some(b) = call.branches.get_mut(usize::from(branch)) {
                    b.sent(client, tx);
                }
            }
            (Owner::InDialog { server, .. }, _) => {
                if let Some(txn) = tx.table.servers.get_mut(server) {
                    txn.client = Some(client);
                }
            }
            _ => {}
        }
        true
    }

    /// The header lines that a request or ACK of the caller needs towards the vendor, in its numbers and with its credentials; and those that
    /// one of the vendor needs towards the caller.
    pub(super) fn translated(
        &self,
        call: &mut Call,
        from_caller: bool,
        msg: &Message<'_>,
        flow: &Flow,
        uri: &[u8],
        tx: &mut Transactions,
    ) -> (Vec<(Header, Vec<u8>)>, Option<Signature>) {
        let mut lines = Vec::new();
        let snapshot = call.snapshot.clone();
        let Some(branch) = call.branches.last_mut() else {
            return (lines, None);
        };
        let trunk = branch.vendor_trunk(&snapshot.directory);
        let uac = &mut branch.uac;
        let (n, method) = (msg.cseq().0, msg.method());
        let event = msg.header(Header::Event).and_then(refer_id);
        if !from_caller {
            if let Some((value, id)) = event.filter(|_| method == Method::Notify)
                && uac.back(id) != id
            {
                lines.push((Header::Event, with_refer_id(value, id, uac.back(id))));
            }
            return (lines, None);
        }
        let there = if method == Method::Ack { uac.of(n) } else { uac.number(n, method) };
        if there != n {
            lines.push((Header::CSeq, format!("{there} {}", method.token()).into_bytes()));
        }
        if let Some((rseq, of, what)) = msg.header(Header::RAck).and_then(rack)
            && method == Method::Prack
            && uac.of(of) != of
        {
            lines.push((Header::RAck, format!("{rseq} {} {what}", uac.of(of)).into_bytes()));
        }
        if let Some((value, id)) = event.filter(|_| method == Method::Subscribe)
            && uac.of(id) != id
        {
            lines.push((Header::Event, with_refer_id(value, id, uac.of(id))));
        }
        let signature = match (method, trunk) {
            (Method::Ack, Some(trunk)) => {
                uac.of_ack().filter(|_| own_credentials(trunk, flow, tx).is_some()).cloned()
            }
            (_, Some(trunk)) => uac.sign(trunk, flow, method, uri, tx),
            (_, None) => None,
        };
        (lines, signature)
    }
}

impl Transactions {
    /// A challenge to a request within a dialog that nobody can answer. Its asker has no credentials for the other side, and what he sends
    /// is stripped of them, so he does not see it: the call is over for who hangs up, and nothing is changed by what else is asked
    /// (RFC 3261 §14.1, §21.4.4).
    pub(super) fn challenge_unanswered(&mut self, server: Id, msg: &Message<'_>) {
        let status = if msg.method_of_cseq() == Method::Bye { 200 } else { 403 };
        self.answer(server, status, "", &[]);
    }
}

/// RSeq, CSeq number and method of a RAck (RFC 3262 §7.2).
fn rack(value: &[u8]) -> Option<(&str, u32, &str)> {
    let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
    let found = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    words.next().is_none().then_some(found)
}

/// The Event value and its id, when it is one of a REFER (RFC 3515 §2.4.6).
fn refer_id(value: &[u8]) -> Option<(&str, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("refer") {
        return None;
    }
    let id =
        parts.find_map(|p| p.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("id")))?.1;
    Some((text, id.trim().parse().ok()?))
}

fn with_refer_id(value: &str, old: u32, new: u32) -> Vec<u8> {
    let parts: Vec<String> = value
        .split(';')
        .map(|part| match part.split_once('=') {
            Some((name, id)) if name.trim().eq_ignore_ascii_case("id") && id.trim().parse() == Ok(old) => {
                format!("{name}={new}")
            }
            _ => part.to_owned(),
        })
        .collect();
    parts.join(";").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_until_the_first_challenge_and_stay_apart_from_then_on() {
        let mut u = Uac::default();
        assert_eq!(u.number(1, Method::Invite), 1);
        assert_eq!((u.of(1), u.back(1)), (1, 1));
        assert_eq!(u.again(Some(1), Method::Invite), 2);
        assert_eq!(u.again(Some(1), Method::Invite), 3, "stale");
        assert_eq!((u.of(1), u.back(3)), (3, 1));
        assert_eq!(u.number(2, Method::Prack), 4);
        // Challenged while a later request is on its way.
        assert_eq!(u.number(3, Method::Refer), 5);
        assert_eq!(u.number(4, Method::Info), 6);
        assert_eq!(u.again(Some(3), Method::Refer), 7);
        assert_eq!((u.of(3), u.back(7), u.of(1)), (7, 3, 3));
        assert_eq!(u.number(5, Method::Bye), 9);
        assert_eq!(u.again(None, Method::Bye), 10);
        assert_eq!(u.highest(), 10);
        for n in 10..40 {
            u.number(n, Method::Invite);
        }
        assert_eq!((u.of(39), u.back(43)), (43, 39));
        assert_eq!(u.number(u32::MAX, Method::Info), u32::MAX);
    }

    #[test]
    fn names_of_numbers_in_headers() {
        assert_eq!(rack(b" 776656 1  INVITE "), Some(("776656", 1, "INVITE")));
        assert_eq!(rack(b"1 INVITE"), None);
        assert_eq!(refer_id(b"refer;id=93809823").map(|e| e.1), Some(93_809_823));
        assert_eq!(refer_id(b"Refer ; x=1; ID = 7").map(|e| e.1), Some(7));
        assert_eq!((refer_id(b"refer"), refer_id(b"presence;id=7")), (None, None));
        assert_eq!(with_refer_id("refer;id=7;x=7", 7, 9), b"refer;id=9;x=7");
        assert_eq!(next_nonce(b"qop=auth, NextNonce=\"abc\", nc=00000001"), Some(&b"abc"[..]));
        for bad in [&b"nextnonce=abc"[..], b"nextnonce=\"\"", b"nonce=\"a\""] {
            assert_eq!(next_nonce(bad), None);
        }
    }
}
