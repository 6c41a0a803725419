//! Who calls, who diverted and why it failed, as each peer is told (RFC 0046): the terms of a trunk or vendor trunk
//! (`warp_policy::directory::HeaderTerms`) applied to what goes to it.
//!
//! What says who calls comes from whom we believe (vendors, and trunks where the contract says so), or is a number that the calling customer
//! has: never an untrusted caller's own word. Where the caller asked for privacy and the peer is not within our circle of trust, From
//! becomes the anonymous one (RFC 3323 §4.1.1.3) in everything of the call that goes there, and is what it was in everything that comes
//! back. For peers without terms nothing is allocated.

use warp_model::E164;
use warp_ng::Codecs;
use warp_policy::NumberPlan;
use warp_policy::directory::{
    DiversionForm, HeaderRule, HeaderTerms, IdentityForm, NumberFormat, ReasonForm,
};
use warp_sip::dialog::Side;
use warp_sip::diversion::{diversions_of_history, history_of_diversions, is_private_entry};
use warp_sip::edit::{Edit, PERSONAL_HEADERS};
use warp_sip::header::{Header, NameAddr};
use warp_sip::message::Message;
use warp_sip::proxy::{cause_of_reason, cause_of_status};
use warp_sip::uri::{Scheme, Uri};

use super::call::{Call, Origin, Target};

/// The parts of what an INVITE says to a peer.
pub(super) struct Said<'x> {
    pub(super) terms: &'x HeaderTerms,
    /// Where it came from is believed.
    pub(super) believed: bool,
    /// The caller asked not to be named, and the peer is not within our circle.
    pub(super) hidden: bool,
    /// The call is one for help, which is never anonymous.
    pub(super) emergency: bool,
    /// The caller's number, where it is one of the calling customer's.
    pub(super) own: Option<E164>,
    /// Reads numbers.
    pub(super) plan: &'x NumberPlan,
    /// Host of what we write ourselves.
    pub(super) host: &'x [u8],
    /// The Request-URI that it gets.
    pub(super) target: &'x [u8],
}

impl Call {
    /// The terms of whoever is on this side of the branch at hand.
    pub(super) fn terms(&self, side: Side) -> Option<&HeaderTerms> {
        let directory = &self.snapshot.directory;
        match side {
            Side::Callee => self.branch()?.target.headers(directory),
            Side::Caller => self.origin.headers(directory),
        }
    }

    /// How the caller is named towards this side, where the two sides are told different things: which header of `msg` is the caller's, and
    /// its value there.
    pub(super) fn named(&self, msg: &Message<'_>, to: Side) -> Option<(Header, &[u8])> {
        if self.dialog.shown.is_empty() {
            return None;
        }
        let asks = msg.from_tag().is_some_and(|tag| tag == self.dialog.caller.tag);
        let header = if asks { Header::From } else { Header::To };
        Some((header, self.dialog.caller_towards(to)))
    }

    /// What becomes other in a request within the call on its way to this side.
    pub(super) fn told(&self, msg: &Message<'_>, to: Side, lines: &mut Vec<(Header, Vec<u8>)>) {
        lines.extend(self.named(msg, to).map(|(header, value)| (header, value.to_vec())));
        if msg.has(Header::Reason) && !self.tells_why(to) {
            lines.push((Header::Reason, Vec::new()));
        }
        if self.dialog.caller_towards(to).starts_with(ANONYMOUS) && !self.dialog.shown.is_empty() {
            personal(msg, lines);
        }
    }

    /// Whether the diversions of an INVITE stay with us: it asks for that, and the peer is not within our circle.
    pub(super) fn keeps_diversions(invite: &Message<'_>, terms: &HeaderTerms) -> bool {
        !terms.trusted && has_private_diversions(invite)
    }

    /// Whether this side hears reasons at all.
    pub(super) fn tells_why(&self, to: Side) -> bool {
        self.terms(to).is_none_or(|t| t.reason != ReasonForm::None)
    }

    /// The number of who calls, where his customer has it.
    pub(super) fn own_number(&self) -> Option<E164> {
        let customer = self.snapshot.directory.trunk(self.origin.trunk()?)?.customer;
        let number = self.decision.as_ref()?.caller.as_ref()?.number?;
        self.snapshot.numbers.find(number).filter(|row| row.customer == customer).map(|row| row.number)
    }
}

impl Origin {
    /// How messages of calls are written towards it.
    pub(super) fn headers(self, directory: &warp_policy::Directory) -> Option<&HeaderTerms> {
        match self {
            Origin::Trunk(ix) => Target::Trunk(ix).headers(directory),
            Origin::Vendor(ix) => Target::Vendor(ix).headers(directory),
        }
    }
}

impl Target {
    /// How messages of calls are written towards it.
    pub(super) fn headers(self, directory: &warp_policy::Directory) -> Option<&HeaderTerms> {
        match self {
            Target::Vendor(ix) => directory.vendor_trunk(ix).map(|t| &t.headers),
            Target::Trunk(ix) | Target::User(ix, _) => directory.trunk(ix).map(|t| &t.headers),
        }
    }
}

/// What becomes other in an INVITE: headers with their values, an empty one taking the header away. Gives the caller's From as it is shown,
/// where that is not what it was.
pub(super) fn of_invite(
    msg: &Message<'_>,
    said: &Said<'_>,
    lines: &mut Vec<(Header, Vec<u8>)>,
) -> Option<Vec<u8>> {
    let terms = said.terms;
    if said.hidden {
        personal(msg, lines);
    } else {
        identity(msg, said, lines);
        if said.believed {
            diversions(msg, said, lines);
        }
    }
    if terms.reason == ReasonForm::None && msg.has(Header::Reason) {
        lines.push((Header::Reason, Vec::new()));
    }
    let shown = match terms.caller_format {
        _ if said.hidden => Some(anonymous(msg.from().tag())),
        Some(format) => formatted(&msg.from(), format, said.plan).filter(|shown| shown != msg.from().raw),
        None => None,
    }?;
    lines.push((Header::From, shown.clone()));
    Some(shown)
}

/// RFC 3323 §4.1.1.3.
const ANONYMOUS: &[u8] = b"\"Anonymous\" <sip:anonymous@anonymous.invalid>";

fn anonymous(tag: Option<&[u8]>) -> Vec<u8> {
    let mut out = ANONYMOUS.to_vec();
    if let Some(tag) = tag {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag);
    }
    out
}

/// Takes away what else names a caller who is not to be named (RFC 3323 §5.3).
fn personal(msg: &Message<'_>, lines: &mut Vec<(Header, Vec<u8>)>) {
    lines.extend(PERSONAL_HEADERS.iter().filter(|h| msg.has(**h)).map(|h| (*h, Vec::new())));
}

/// The words of Privacy.
fn privacy_words<'m>(msg: &'m Message<'_>) -> impl Iterator<Item = &'m [u8]> {
    msg.lines_of(Header::Privacy)
        .flat_map(|line| line.split(|b| matches!(b, b';' | b',')))
        .map(<[u8]>::trim_ascii)
}

/// Who calls, of Remote-Party-ID: the first value that is about the caller (draft-ietf-sip-privacy-04 §4: `party`).
pub(super) fn calling_party<'a>(msg: &Message<'a>) -> Option<NameAddr<'a>> {
    let is_caller = |a: &NameAddr<'_>| {
        a.params.value(b"party").is_none_or(|party| party.eq_ignore_ascii_case(b"calling"))
    };
    msg.addresses(Header::RemotePartyId).find(is_caller)
}

/// Whether the caller asked that nobody outside be told who calls (RFC 3325 §9.3: `id`; RFC 3323 §4.2: `user`; `privacy` of
/// Remote-Party-ID). Then what identifies the caller does not go on to who is outside of the carriers' circle of trust (RFC 3325 §7).
pub(super) fn asks_for_privacy(invite: &Message<'_>) -> bool {
    let off = |privacy: &[u8]| privacy.eq_ignore_ascii_case(b"off");
    privacy_words(invite).any(|word| word.eq_ignore_ascii_case(b"id") || word.eq_ignore_ascii_case(b"user"))
        || calling_party(invite).is_some_and(|p| p.params.value(b"privacy").is_some_and(|p| !off(p)))
}

/// Privacy of all that History-Info tells (RFC 7044 §10.1.2).
fn hides_history(invite: &Message<'_>) -> bool {
    let words: [&[u8]; 3] = [b"history", b"header", b"session"];
    privacy_words(invite).any(|word| words.iter().any(|w| word.eq_ignore_ascii_case(w)))
}

/// Whether one who diverted the call is not to be named outside (RFC 5806 `privacy`, RFC 7044 §10.1.2).
fn has_private_diversions(invite: &Message<'_>) -> bool {
    let private =
        |a: NameAddr<'_>| a.params.value(b"privacy").is_some_and(|p| !p.eq_ignore_ascii_case(b"off"));
    let has = |header| invite.has(header);
    has(Header::Diversion) && invite.addresses(Header::Diversion).any(private)
        || has(Header::HistoryInfo)
            && (hides_history(invite)
                || invite.addresses(Header::HistoryInfo).any(|a| is_private_entry(a.uri)))
}

fn identity(msg: &Message<'_>, said: &Said<'_>, lines: &mut Vec<(Header, Vec<u8>)>) {
    let form = said.terms.identity;
    let (asserted, party) = (Header::PAssertedIdentity, Header::RemotePartyId);
    let value = match form {
        IdentityForm::AsReceived => return,
        IdentityForm::None => Vec::new(),
        IdentityForm::PAssertedIdentity | IdentityForm::RemotePartyId => told(msg, said).unwrap_or_default(),
    };
    let (mut as_asserted, mut as_party) = (Vec::new(), Vec::new());
    match form {
        IdentityForm::RemotePartyId if !value.is_empty() => {
            let privacy: &[u8] = if asks_for_privacy(msg) && !said.emergency { b"full" } else { b"off" };
            // What a peer has not screened we have not either.
            let unscreened = said.believed
                && !msg.has(asserted)
                && calling_party(msg).is_some_and(|p| p.params.value(b"screen").is_some_and(|s| s == b"no"));
            let screen: &[u8] = if unscreened { b"no" } else { b"yes" };
            as_party = [&value[..], b";party=calling;screen=", screen, b";privacy=", privacy].concat();
        }
        _ => as_asserted = value,
    }
    // What Remote-Party-ID said of privacy is said of P-Asserted-Identity by a header of its own.
    let says_id = privacy_words(msg).any(|word| word.eq_ignore_ascii_case(b"id"));
    if !as_asserted.is_empty() && asks_for_privacy(msg) && !says_id && !said.emergency {
        let mut words: Vec<&[u8]> = privacy_words(msg).filter(|w| !w.eq_ignore_ascii_case(b"none")).collect();
        words.push(b"id");
        lines.push((Header::Privacy, flat(&[&words.join(&b";"[..])])));
    }
    if form == IdentityForm::None && msg.has(Header::PChargeInfo) {
        lines.push((Header::PChargeInfo, Vec::new()));
    }
    for (header, value) in [(asserted, as_asserted), (party, as_party)] {
        if !value.is_empty() || msg.has(header) {
            lines.push((header, value));
        }
    }
}

/// Who calls, as an address: of P-Asserted-Identity, else Remote-Party-ID, else From, of whom we believe; else a number of the customer's.
fn told(msg: &Message<'_>, said: &Said<'_>) -> Option<Vec<u8>> {
    let format = said.terms.caller_format;
    let own = || said.own.map(|number| ours(number, format, said.host));
    if !said.believed {
        return own();
    }
    let readable = |a: &NameAddr<'_>| Uri::parse(a.uri).is_ok();
    let asserted = || msg.addresses(Header::PAssertedIdentity).find(readable);
    let named = asserted().or_else(|| calling_party(msg).filter(readable));
    // An anonymous From identifies nobody.
    let Some(found) = named.or_else(|| Some(msg.from()).filter(|from| !is_anonymous(from))) else {
        return own();
    };
    let scheme = found.uri().ok()?.scheme;
    // What breaks the grammar of a name is in no header that asserts one (PRODUCT §6).
    let display = if found.sloppy { b"" } else { found.display };
    match number_of(&found, said.plan) {
        Some(number) if format.is_some() || scheme == Scheme::Tel => Some(ours(number, format, said.host)),
        _ => Some(flat(&[display, if display.is_empty() { b"" } else { b" " }, b"<", found.uri, b">"])),
    }
}

/// An address that says that nobody is named (RFC 3323 §4.1.1.3, RFC 3325 §9.1).
fn is_anonymous(address: &NameAddr<'_>) -> bool {
    let Ok(uri) = address.uri() else { return false };
    let users: [&[u8]; 4] = [b"anonymous", b"restricted", b"unavailable", b"unknown"];
    uri.host.eq_ignore_ascii_case(b"anonymous.invalid")
        || uri.user.is_none_or(|user| users.iter().any(|u| user.eq_ignore_ascii_case(u)))
}

/// A number as an address of ours.
fn ours(number: E164, format: Option<NumberFormat>, host: &[u8]) -> Vec<u8> {
    let user = written(number, format.unwrap_or_default());
    [b"<sip:", user.as_bytes(), b"@", host, b";user=phone>"].concat()
}

/// A number in a format.
fn written(number: E164, format: NumberFormat) -> String {
    super::cdr::number_in(number, format)
}

/// From with its number in a format; `None`: it has no number, or is no SIP address.
fn formatted(from: &NameAddr<'_>, format: NumberFormat, plan: &NumberPlan) -> Option<Vec<u8>> {
    let uri = from.uri().ok().filter(|u| matches!(u.scheme, Scheme::Sip | Scheme::Sips))?;
    let number = written(number_of(from, plan)?, format);
    let user = uri.user?;
    let at = warp_sip::lex::offset_in(from.raw, user)?;
    let (before, rest) = from.raw.split_at_checked(at)?;
    Some(flat(&[before, number.as_bytes(), rest.get(user.len()..)?]))
}

/// Digits of a number with its country code that say so by nothing else; fewer are an extension, or of one city.
const BARE_DIGITS: usize = 8;

/// The number of an address, as policy reads it. Extensions and numbers within a `phone-context` (RFC 3966 §5.1.5) are none.
fn number_of(address: &NameAddr<'_>, plan: &NumberPlan) -> Option<E164> {
    let mut out = [0; 64];
    let uri = address.uri().ok()?;
    let text = uri.number(&mut out)?;
    let is_local = text.first() != Some(&b'+') && uri.params.has(b"phone-context");
    let is_short = text.first() != Some(&b'+') && text.len() < BARE_DIGITS;
    if is_local || is_short { None } else { plan.caller(text, None).number }
}

fn diversions(msg: &Message<'_>, said: &Said<'_>, lines: &mut Vec<(Header, Vec<u8>)>) {
    let (old, new) = (Header::Diversion, Header::HistoryInfo);
    let private = Call::keeps_diversions(msg, said.terms);
    let (keep, drop) = match said.terms.diversion {
        _ if private => (None, [Some(old), Some(new)]),
        DiversionForm::AsReceived => return,
        DiversionForm::None => (None, [Some(old), Some(new)]),
        DiversionForm::Diversion => (Some(old), [Some(new), None]),
        DiversionForm::HistoryInfo => (Some(new), [Some(old), None]),
    };
    if let Some(wanted) = keep.filter(|wanted| !msg.has(*wanted)) {
        let converted = match wanted {
            Header::Diversion => diversions_of_history(msg.addresses(new), hides_history(msg)),
            _ => history_of_diversions(msg.addresses(old), said.target),
        };
        lines.extend(converted.map(|value| (wanted, value)));
    }
    lines.extend(drop.into_iter().flatten().filter(|h| msg.has(*h)).map(|h| (h, Vec::new())));
}

/// The Reason that a failure gets on its way to a peer, an empty one taking it away; `None`: it stays as it is.
pub(super) fn reason_for(msg: &Message<'_>, terms: Option<&HeaderTerms>) -> Option<Vec<u8>> {
    match terms?.reason {
        ReasonForm::AsReceived => None,
        ReasonForm::None => msg.has(Header::Reason).then(Vec::new),
        ReasonForm::Always => {
            let status = msg.status().filter(|s| *s >= 300)?;
            let known = msg.lines_of(Header::Reason).find_map(cause_of_reason);
            // Beside those of other protocols (RFC 3326 §2).
            known.is_none().then(|| {
                let mut values: Vec<&[u8]> = msg.lines_of(Header::Reason).collect();
                let ours = format!("Q.850;cause={}", cause_of_status(status));
                values.push(ours.as_bytes());
                flat(&[&values.join(&b", "[..])])
            })
        }
    }
}

/// What an offer may have, whoever makes it: the codecs that both sides are held to. DTMF events pass with any of them.
pub(super) fn hold_to_codecs(call: &Call, codec: &mut Codecs) {
    let of = |side| call.terms(side).map_or(&[][..], |t: &HeaderTerms| &t.codecs);
    let (caller, callee) = (of(Side::Caller), of(Side::Callee));
    let both = |name: &&String| caller.iter().any(|other| same_codec(other, name));
    let kept: Vec<&String> = match (caller.is_empty(), callee.is_empty()) {
        (true, true) => return,
        (false, true) => caller.iter().collect(),
        (true, false) => callee.iter().collect(),
        (false, false) => callee.iter().filter(both).collect(),
    };
    codec.strip = vec![b"all".to_vec()];
    codec.except = kept.iter().map(|name| name.as_bytes().to_vec()).collect();
    codec.except.push(b"telephone-event".to_vec());
}

/// Whether either side has its calls recorded (RFC 0054).
pub(super) fn is_recorded(call: &Call) -> bool {
    [Side::Caller, Side::Callee].into_iter().any(|side| call.terms(side).is_some_and(|t| t.recording))
}

/// Whether two names are of one codec: `PCMU` and `pcmu/8000`.
fn same_codec(a: &str, b: &str) -> bool {
    let name = |text: &str| text.split('/').next().unwrap_or_default().to_ascii_lowercase();
    name(a) == name(b)
}

/// The rules of a peer, in their order: a later one does not see what an earlier one has added.
pub(super) fn apply<'m>(edit: &mut Edit<'m, '_>, rules: &'m [HeaderRule]) {
    for rule in rules {
        match rule {
            HeaderRule::Remove(name) => drop(edit.remove_named(name.as_bytes())),
            // A second line of what may stand there once would spoil the message.
            HeaderRule::Add(name, value) if !Header::from_name(name.as_bytes()).is_single() => {
                edit.add_header(name.as_bytes(), value.as_bytes());
            }
            HeaderRule::Add(name, value) | HeaderRule::Set(name, value) => {
                edit.remove_named(name.as_bytes()).add_header(name.as_bytes(), value.as_bytes());
            }
        }
    }
}

/// One value in place of a header's, an empty one in place of the header.
pub(super) fn put<'m>(edit: &mut Edit<'m, '_>, header: Header, value: &'m [u8]) {
    match value.is_empty() {
        true => drop(edit.remove_header(header)),
        false => drop(edit.replace_header(header, value)),
    }
}

/// The parts as one line: a fold of the peer's becomes a space.
fn flat(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = parts.concat();
    out.iter_mut().filter(|b| matches!(b, b'\r' | b'\n')).for_each(|b| *b = b' ');
    out
}
