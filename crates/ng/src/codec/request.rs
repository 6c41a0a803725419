//! Requests: document to [`Command`] and back.

use std::net::IpAddr;

use super::play::{PlayFields, write_play};
use super::{Encoding, NgError, Request, Word, open};
use crate::command::{
    AddressFamily, AttributeEdits, Codecs, Command, Delete, Dtls, FILE_KEYS, Flags, Ice, IceLite, KeepAction,
    KeepBack, Play, PlayAction, Query, Record, RecordAction, Replace, RtcpMux, SdpCommand, Transport,
};
use crate::reply::reasons;
use crate::rtpp_flags;
use crate::tape::View;
use crate::write::Writer;

/// Calls that `list` names when the client gives no limit.
const LIST_DEFAULT: u64 = 32;

/// Decodes one request datagram.
///
/// Keys are taken in any order; `-`, space and `_` in keys and flags are the same; integers and their texts are the same;
/// what is unknown is ignored and listed in [`Request::ignored`]. A doubled `command`, `call-id`, tag, branch or `sdp` is refused: two readers could pick
/// different ones. Missing keys are reported in the order and with the texts of the original relay.
pub fn decode_request(datagram: &[u8]) -> Result<Request<'_>, NgError<'_>> {
    let (cookie, encoding, tape) = open(datagram)?;
    let bad = |reason| NgError::Bad { cookie, encoding, reason };
    let root = tape.root().ok_or(bad(reasons::INVALID_FORMAT))?;
    let mut fields = Fields::read(root).ok_or(bad(match encoding {
        Encoding::Bencode => reasons::BAD_BENCODE,
        Encoding::Json => reasons::BAD_JSON_DICTIONARY,
    }))?;
    let load_limit = fields.load_limit;
    let ignored = std::mem::take(&mut fields.ignored);
    let command = fields.command().map_err(bad)?;
    Ok(Request { cookie, encoding, load_limit, command, ignored })
}

/// Everything we know of a request, before it is known which command it is.
#[derive(Debug, Default)]
struct Fields {
    command: Option<Vec<u8>>,
    sdp: SdpCommand,
    has: Has,
    limit: Option<i64>,
    delete_delay: Option<u64>,
    directional: bool,
    pauses: bool,
    play: PlayFields,
    address: Option<IpAddr>,
    fatal: bool,
    match_to_tag: bool,
    fast: bool,
    load_limit: bool,
    /// Names of `direction`, which `rtpp-flags` gives one by one.
    interfaces: Vec<Vec<u8>>,
    ignored: Vec<Vec<u8>>,
}

/// Names that [`Request::ignored`] lists at most, and bytes of each.
const IGNORED: usize = 8;
const IGNORED_BYTES: usize = 40;
/// Bytes of what a client calls a file.
const FILE_NAME_BYTES: usize = 1_024;
/// Bytes of all attribute edits of one kind of section.
const ATTRIBUTE_BYTES: usize = 2_048;
/// Attribute edits of one list at most.
const ATTRIBUTE_EDITS: usize = 64;

/// Keys that may come once only.
#[derive(Debug, Default)]
struct Has {
    command: bool,
    sdp: bool,
    call_id: bool,
    from_tag: bool,
    to_tag: bool,
    via_branch: bool,
}

/// True the first time.
fn first(seen: &mut bool) -> bool {
    !std::mem::replace(seen, true)
}

fn bytes(view: View<'_, '_>) -> Vec<u8> {
    view.text().map(|t| t.into_owned()).unwrap_or_default()
}

fn some(view: View<'_, '_>) -> Option<Vec<u8>> {
    Some(bytes(view)).filter(|b| !b.is_empty())
}

fn address(view: View<'_, '_>) -> Option<IpAddr> {
    std::str::from_utf8(view.str()?).ok()?.trim().parse().ok()
}

fn says_off(text: &[u8]) -> bool {
    matches!(text, b"off" | b"no" | b"disable")
}

impl Fields {
    /// `None` when a key is doubled that must not be.
    fn read(root: View<'_, '_>) -> Option<Self> {
        let mut f = Fields::default();
        for (key, value) in root.entries() {
            let word = Word::new(key);
            let once = match word.as_bytes() {
                b"command" => Some(&mut f.has.command),
                b"sdp" => Some(&mut f.has.sdp),
                b"call-id" => Some(&mut f.has.call_id),
                b"from-tag" => Some(&mut f.has.from_tag),
                b"to-tag" => Some(&mut f.has.to_tag),
                b"via-branch" => Some(&mut f.has.via_branch),
                _ => None,
            };
            if let Some(seen) = once
                && !first(seen)
            {
                return None;
            }
            f.key(word.as_bytes(), key, value);
        }
        if let [a, b, ..] = f.interfaces.as_slice() {
            f.sdp.direction = Some((a.clone(), b.clone()));
        }
        Some(f)
    }

    fn ignore(&mut self, name: &[u8]) {
        let name = name.get(..IGNORED_BYTES).unwrap_or(name);
        if self.ignored.len() < IGNORED && !self.ignored.iter().any(|n| n == name) {
            self.ignored.push(name.to_vec());
        }
    }

    /// The string of flags that a newer client leaves to the relay to take apart. It names no call: keys that identify
    /// one are directions for the client's own module there.
    fn rtpp_flags(&mut self, text: &[u8]) {
        let Some(tape) = rtpp_flags::parse(text) else { return self.ignore(b"rtpp-flags") };
        for (key, value) in tape.root().into_iter().flat_map(View::entries) {
            let word = Word::new(key);
            match word.as_bytes() {
                b"command" | b"sdp" | b"call-id" | b"from-tag" | b"to-tag" | b"via-branch"
                | b"rtpp-flags" => {}
                known => self.key(known, key, value),
            }
        }
    }

    /// `key` in its canonical spelling, and as it came.
    fn key(&mut self, key: &[u8], as_sent: &[u8], value: View<'_, '_>) {
        let sdp = &mut self.sdp;
        match key {
            b"command" => self.command = value.text().map(|t| t.into_owned()),
            b"sdp" => sdp.sdp = bytes(value),
            b"call-id" => sdp.call_id = bytes(value),
            b"from-tag" => sdp.from_tag = bytes(value),
            b"to-tag" => sdp.to_tag = some(value),
            b"via-branch" => sdp.via_branch = some(value),
            b"received-from" => sdp.received_from = value.items().find_map(address),
            b"media-ips" => sdp.media_ips = value.items().filter_map(address).take(64).collect(),
            b"media-address" => sdp.media_address = address(value),
            b"address" => self.address = address(value),
            b"ICE" | b"ice" => sdp.ice = value.str().and_then(ice),
            b"ICE-lite" | b"ice-lite" => sdp.ice_lite = value.str().map(ice_lite).unwrap_or_default(),
            b"transport-protocol" => {
                sdp.transport_protocol = value.str().and_then(Transport::from_bytes);
            }
            b"rtcp-mux" => {
                for item in value.items() {
                    rtcp_mux(item.str().unwrap_or_default(), &mut sdp.rtcp_mux);
                }
            }
            b"replace" => {
                for item in value.items() {
                    replace(Word::new(item.str().unwrap_or_default()).as_bytes(), &mut sdp.replace);
                }
            }
            b"flags" => {
                for item in value.items() {
                    self.flag(item.str().unwrap_or_default());
                }
            }
            b"rtpp-flags" => self.rtpp_flags(value.str().unwrap_or_default()),
            b"codec" => {
                for (op, names) in value.entries() {
                    match CODEC.iter().find(|(name, _)| name.as_bytes() == op) {
                        Some((_, list)) => {
                            let list = list(&mut self.sdp.codec);
                            let room = CODEC_NAMES.saturating_sub(list.len());
                            list.extend(names.items().filter_map(some).take(room));
                        }
                        None => self.ignore(&[b"codec-", op].concat()),
                    }
                }
            }
            b"sdp-attr" => {
                for (kind, edits) in value.entries() {
                    attribute_edits(kind, edits, &mut sdp.attributes);
                }
            }
            b"sdp-media-remove" => {
                sdp.media_remove = value.items().filter_map(some).take(ATTRIBUTE_EDITS).collect();
            }
            b"direction" => {
                let names = value.items().filter_map(some);
                self.interfaces.extend(names.take(2usize.saturating_sub(self.interfaces.len())));
            }
            b"address-family" => {
                sdp.address_family = match value.str().unwrap_or_default() {
                    b"IP4" | b"inet" | b"ip4" => Some(AddressFamily::Ip4),
                    b"IP6" | b"inet6" | b"ip6" => Some(AddressFamily::Ip6),
                    _ => None,
                };
            }
            b"DTLS" | b"dtls" => sdp.dtls = value.str().and_then(dtls),
            b"SDES" | b"sdes" => {
                for item in value.items() {
                    let word = item.str().unwrap_or_default();
                    if !sdes(word, &mut self.sdp) {
                        self.ignore(&[b"SDES-", word].concat());
                    }
                }
            }
            b"TOS" | b"tos" => sdp.tos = value.int(),
            b"label" | b"from-label" | b"set-label" => sdp.label = some(value),
            b"metadata" => sdp.metadata = some(value),
            b"xmlrpc-callback" | b"XMLRPC-callback" => sdp.xmlrpc_callback = address(value),
            b"limit" => self.limit = value.int(),
            b"delete-delay" => {
                self.delete_delay = value.int().and_then(|d| u64::try_from(d).ok());
            }
            b"supports" => {
                self.load_limit =
                    value.items().any(|i| Word::new(i.str().unwrap_or_default()).as_bytes() == b"load-limit");
            }
            b"record-call" => match value.str().unwrap_or_default() {
                b"yes" | b"on" => sdp.record = Some(true),
                b"no" | b"off" => sdp.record = Some(false),
                other => self.ignore(&[b"record-call=", other].concat()),
            },
            // A pause behind a key has a length, one of a recording is a word.
            b"pause" if value.str() == Some(b"yes") => self.pauses = true,
            key if self.play.key(key, value) => {}
            key => match FILE_KEYS.into_iter().find(|name| name.as_bytes() == key) {
                Some(name) if sdp.file_names.len() < FILE_KEYS.len() => {
                    let text = bytes(value);
                    sdp.file_names
                        .push((name, text.get(..FILE_NAME_BYTES).map_or(text.clone(), <[u8]>::to_vec)));
                }
                Some(_) => {}
                None => self.ignore(as_sent),
            },
        }
    }

    fn flag(&mut self, as_sent: &[u8]) {
        let rest = as_sent.strip_prefix(b"SDES-").or_else(|| as_sent.strip_prefix(b"sdes-"));
        if let Some(word) = rest {
            if !sdes(word, &mut self.sdp) {
                self.ignore(as_sent);
            }
            return;
        }
        // The name of a codec may be long, with parameters, and keeps its own spelling.
        let codec = |(op, list): &(&str, CodecList)| {
            let separated = |text: &[u8]| text.split_first().filter(|(b, _)| b"- _".contains(b)).is_some();
            let rest = as_sent.strip_prefix(b"codec").filter(|r| separated(r))?.get(1..)?;
            let rest = rest.strip_prefix(op.as_bytes()).filter(|r| separated(r))?;
            Some((*list, rest.get(1..)?))
        };
        if let Some((list, name)) = CODEC.iter().find_map(codec) {
            let names = list(&mut self.sdp.codec);
            if names.len() < CODEC_NAMES {
                names.push(name.to_vec());
            }
            return;
        }
        let word = Word::new(as_sent);
        match word.as_bytes() {
            b"fatal" => self.fatal = true,
            b"directional" => self.directional = true,
            b"all" => self.play.all = true,
            // What others say is kept back in any case while something is played.
            b"block-egress" => {}
            b"to-tag" => self.match_to_tag = true,
            b"fast" => self.fast = true,
            b"pause" => self.pauses = true,
            b"record-call" => self.sdp.record = Some(true),
            b"sip-source-address" => self.sdp.flags.sip_source_address = true,
            flag => {
                if let Some((_, set)) = FLAGS.iter().find(|(name, _)| name.as_bytes() == flag) {
                    *set(&mut self.sdp.flags) = true;
                } else if let Some(rest) = flag.strip_prefix(b"rtcp-mux-") {
                    rtcp_mux(rest, &mut self.sdp.rtcp_mux);
                } else if let Some(rest) = flag.strip_prefix(b"replace-") {
                    replace(rest, &mut self.sdp.replace);
                } else if let Some(transport) = Transport::from_bytes(flag) {
                    self.sdp.transport_protocol = Some(transport);
                } else {
                    self.ignore(as_sent);
                }
            }
        }
    }

    fn command(self) -> Result<Command, &'static str> {
        let name = self.command.as_deref().ok_or(reasons::NO_COMMAND)?;
        let sdp = self.sdp;
        match name {
            b"ping" => Ok(Command::Ping),
            b"offer" | b"answer" => {
                if sdp.sdp.is_empty() {
                    return Err(reasons::NO_SDP);
                }
                if sdp.call_id.is_empty() {
                    return Err(reasons::NO_CALL_ID);
                }
                if sdp.from_tag.is_empty() {
                    return Err(reasons::NO_FROM_TAG);
                }
                if name == b"offer" {
                    return Ok(Command::Offer(sdp));
                }
                if sdp.to_tag.is_none() {
                    return Err(reasons::NO_TO_TAG);
                }
                Ok(Command::Answer(sdp))
            }
            b"delete" | b"query" if sdp.call_id.is_empty() => Err(reasons::NO_CALL_ID),
            b"delete" => Ok(Command::Delete(Delete {
                call_id: sdp.call_id,
                from_tag: Some(sdp.from_tag).filter(|t| !t.is_empty()),
                to_tag: sdp.to_tag,
                via_branch: sdp.via_branch,
                delete_delay: self.delete_delay,
                fatal: self.fatal,
                match_to_tag: self.match_to_tag,
                fast: self.fast,
            })),
            b"query" => Ok(Command::Query(Query {
                call_id: sdp.call_id,
                from_tag: Some(sdp.from_tag).filter(|t| !t.is_empty()),
                to_tag: sdp.to_tag,
            })),
            b"statistics" => Ok(Command::Statistics),
            b"list" => match self.limit {
                None => Ok(Command::List { limit: LIST_DEFAULT }),
                Some(n) => Ok(Command::List { limit: u64::try_from(n).map_err(|_| reasons::INVALID_LIMIT)? }),
            },
            b"play media" | b"stop media" | b"play DTMF" => {
                if sdp.call_id.is_empty() {
                    return Err(reasons::NO_CALL_ID);
                }
                let from_tag = Some(sdp.from_tag).filter(|t| !t.is_empty());
                let (call_id, label, address) = (sdp.call_id, sdp.label, self.address);
                let of = Play { call_id, what: PlayAction::Stop, from_tag, label, address, all: false };
                Ok(Command::Play(self.play.command(name, of)))
            }
            name if name.ends_with(b" recording") => {
                let known = RecordAction::ALL.iter().find(|(n, _)| n.as_bytes() == name);
                let (_, what) = *known.ok_or(reasons::UNRECOGNIZED_COMMAND)?;
                if sdp.call_id.is_empty() {
                    return Err(reasons::NO_CALL_ID);
                }
                Ok(Command::Record(Record {
                    call_id: sdp.call_id,
                    what: if self.pauses && what == RecordAction::Stop { RecordAction::Pause } else { what },
                    metadata: sdp.metadata,
                    file_names: sdp.file_names,
                }))
            }
            name => {
                let known = KeepAction::ALL.iter().find(|(n, _)| n.as_bytes() == name);
                let (_, what) = *known.ok_or(reasons::UNRECOGNIZED_COMMAND)?;
                if sdp.call_id.is_empty() {
                    return Err(reasons::NO_CALL_ID);
                }
                Ok(Command::Keep(KeepBack {
                    call_id: sdp.call_id,
                    what,
                    from_tag: Some(sdp.from_tag).filter(|t| !t.is_empty()),
                    label: sdp.label,
                    address: self.address,
                    directional: self.directional,
                }))
            }
        }
    }
}

/// One word of `SDES`. False: it is not carried out.
fn sdes(word: &[u8], sdp: &mut SdpCommand) -> bool {
    let named = |list: &mut Vec<Vec<u8>>, suite: &[u8]| {
        if list.len() < CODEC_NAMES {
            list.push(suite.to_vec());
        }
    };
    match word {
        off if says_off(off) => sdp.sdes_off = true,
        b"pad" => sdp.sdes_pad = true,
        b"lifetime" => sdp.sdes_lifetime = true,
        _ => match (word.strip_prefix(b"no-"), word.strip_prefix(b"only-")) {
            (Some(suite), _) => named(&mut sdp.sdes_no, suite),
            (_, Some(suite)) => named(&mut sdp.sdes_only, suite),
            _ => return false,
        },
    }
    true
}

/// One sub-dictionary of `sdp-attr`.
fn attribute_edits(kind: &[u8], edits: View<'_, '_>, out: &mut Vec<AttributeEdits>) {
    let kind = if matches!(kind, b"none" | b"global") { &[][..] } else { kind };
    if out.len() >= ATTRIBUTE_EDITS {
        return;
    }
    // One section in each of many may get what is added here: the reply must still fit in a datagram.
    let mut room = ATTRIBUTE_BYTES;
    let mut one_line = |v: View<'_, '_>| {
        let text = some(v).filter(|text| !text.iter().any(u8::is_ascii_control))?;
        room = room.checked_sub(text.len())?;
        Some(text)
    };
    let mut new = AttributeEdits { kind: kind.to_vec(), ..AttributeEdits::default() };
    for (what, list) in edits.entries() {
        match what {
            b"add" => new.add.extend(list.items().filter_map(&mut one_line).take(ATTRIBUTE_EDITS)),
            b"remove" => new.remove.extend(list.items().filter_map(&mut one_line).take(ATTRIBUTE_EDITS)),
            b"substitute" => {
                let pairs = list.items().filter_map(|pair| {
                    let mut two = pair.items();
                    match (pair.get("from"), pair.get("to")) {
                        (Some(from), Some(to)) => one_line(from).zip(one_line(to)),
                        _ => one_line(two.next()?).zip(one_line(two.next()?)),
                    }
                });
                new.substitute.extend(pairs.take(ATTRIBUTE_EDITS));
            }
            _ => {}
        }
    }
    out.push(new);
}

fn ice(text: &[u8]) -> Option<Ice> {
    ICE.iter().find(|(name, _)| name.as_bytes() == text).map(|(_, ice)| *ice)
}

fn ice_lite(text: &[u8]) -> IceLite {
    let both = text == b"both";
    IceLite { forward: both || text == b"forward", backward: both || text == b"backward" }
}

fn dtls(text: &[u8]) -> Option<Dtls> {
    match text {
        b"passive" => Some(Dtls::Passive),
        b"active" => Some(Dtls::Active),
        off if says_off(off) => Some(Dtls::Off),
        _ => None,
    }
}

fn rtcp_mux(text: &[u8], mux: &mut RtcpMux) {
    if let Some((_, set)) = RTCP_MUX.iter().find(|(name, _)| name.as_bytes() == text) {
        *set(mux) = true;
    }
}

fn replace(text: &[u8], replace: &mut Replace) {
    if let Some((_, set)) = REPLACE.iter().find(|(name, _)| name.as_bytes() == text) {
        *set(replace) = true;
    }
}

/// Encodes one request datagram, as Kamailio's module does (the command last).
///
/// Out: `cookie SP document`. The cookie must have no space; the caller makes it unique.
pub fn encode_request(
    cookie: &[u8],
    encoding: Encoding,
    load_limit: bool,
    command: &Command,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(cookie);
    out.push(b' ');
    let mut w = Writer::new(out, encoding);
    w.open_dict();
    if load_limit {
        w.pair_list("supports", ["load limit"]);
    }
    match command {
        Command::Ping | Command::Statistics => {}
        Command::Offer(c) | Command::Answer(c) => write_sdp_command(&mut w, c),
        Command::Delete(c) => {
            w.pair_text("call-id", &c.call_id);
            optional(&mut w, "via-branch", c.via_branch.as_ref());
            optional(&mut w, "from-tag", c.from_tag.as_ref());
            optional(&mut w, "to-tag", c.to_tag.as_ref());
            if let Some(delay) = c.delete_delay {
                w.pair_count("delete-delay", delay);
            }
            let flags = [("fatal", c.fatal), ("to-tag", c.match_to_tag), ("fast", c.fast)];
            w.pair_list("flags", flags.into_iter().filter(|(_, on)| *on).map(|(n, _)| n));
        }
        Command::Query(c) => {
            w.pair_text("call-id", &c.call_id);
            optional(&mut w, "from-tag", c.from_tag.as_ref());
            optional(&mut w, "to-tag", c.to_tag.as_ref());
        }
        Command::Keep(c) => {
            w.pair_text("call-id", &c.call_id);
            optional(&mut w, "from-tag", c.from_tag.as_ref());
            optional(&mut w, "label", c.label.as_ref());
            if let Some(address) = c.address {
                w.pair_text("address", address.to_string());
            }
            w.pair_list("flags", c.directional.then_some("directional"));
        }
        Command::Play(c) => write_play(&mut w, c),
        Command::Record(c) => {
            w.pair_text("call-id", &c.call_id);
            optional(&mut w, "metadata", c.metadata.as_ref());
            c.file_names.iter().for_each(|(key, name)| w.pair_text(key, name));
        }
        Command::List { limit } => w.pair_count("limit", *limit),
    }
    w.pair_text("command", command.name());
    w.close_dict();
}

fn optional(w: &mut Writer<'_>, key: &str, value: Option<&Vec<u8>>) {
    if let Some(value) = value {
        w.pair_text(key, value);
    }
}

fn write_sdp_command(w: &mut Writer<'_>, c: &SdpCommand) {
    w.pair_text("sdp", &c.sdp);
    if let Some(ice) = c.ice
        && let Some((name, _)) = ICE.iter().find(|(_, i)| *i == ice)
    {
        w.pair_text("ICE", name);
    }
    match (c.ice_lite.forward, c.ice_lite.backward) {
        (true, true) => w.pair_text("ICE-lite", "both"),
        (true, false) => w.pair_text("ICE-lite", "forward"),
        (false, true) => w.pair_text("ICE-lite", "backward"),
        (false, false) => {}
    }
    match c.dtls {
        Some(Dtls::Off) => w.pair_text("DTLS", "off"),
        Some(Dtls::Passive) => w.pair_text("DTLS", "passive"),
        Some(Dtls::Active) => w.pair_text("DTLS", "active"),
        None => {}
    }
    if let Some(tos) = c.tos {
        w.pair_int("TOS", tos);
    }
    if let Some(address) = c.media_address {
        w.pair_text("media-address", address.to_string());
    }
    optional(w, "label", c.label.as_ref());
    optional(w, "metadata", c.metadata.as_ref());
    if let Some(record) = c.record {
        w.pair_text("record-call", if record { "yes" } else { "no" });
    }
    c.file_names.iter().for_each(|(key, name)| w.pair_text(key, name));
    if let Some(address) = c.xmlrpc_callback {
        w.pair_text("xmlrpc-callback", address.to_string());
    }
    if let Some((a, b)) = &c.direction {
        w.pair_list("direction", [a, b]);
    }
    let mut flags = c.flags;
    w.pair_list("flags", FLAGS.iter().filter(|(_, is)| *is(&mut flags)).map(|(name, _)| name));
    let mut what = c.replace;
    if c.codec != Codecs::default() {
        w.key("codec");
        w.open_dict();
        let mut codec = c.codec.clone();
        for (op, list) in CODEC {
            w.pair_list(op, list(&mut codec).iter());
        }
        w.close_dict();
    }
    write_attribute_edits(w, &c.attributes);
    w.pair_list("sdp-media-remove", c.media_remove.iter());
    w.pair_list("replace", REPLACE.iter().filter(|(_, is)| *is(&mut what)).map(|(name, _)| name));
    if let Some(transport) = c.transport_protocol {
        w.pair_text("transport-protocol", transport.as_str());
    }
    let mut mux = c.rtcp_mux;
    w.pair_list("rtcp-mux", RTCP_MUX.iter().filter(|(_, is)| *is(&mut mux)).map(|(name, _)| name));
    let with = |prefix: &'static [u8]| move |suite: &Vec<u8>| [prefix, suite].concat();
    let words = [("off", c.sdes_off), ("pad", c.sdes_pad), ("lifetime", c.sdes_lifetime)];
    let words = words.into_iter().filter(|(_, on)| *on);
    let words = words.map(|(word, _)| word.as_bytes().to_vec());
    let words = words.chain(c.sdes_no.iter().map(with(b"no-"))).chain(c.sdes_only.iter().map(with(b"only-")));
    w.pair_list("SDES", words);
    match c.address_family {
        Some(AddressFamily::Ip4) => w.pair_text("address-family", "IP4"),
        Some(AddressFamily::Ip6) => w.pair_text("address-family", "IP6"),
        None => {}
    }
    w.pair_text("call-id", &c.call_id);
    optional(w, "via-branch", c.via_branch.as_ref());
    if let Some(from) = c.received_from {
        let family = if from.is_ipv4() { "IP4" } else { "IP6" };
        w.pair_list("received-from", [family.to_owned(), from.to_string()]);
    }
    w.pair_list("media-ips", c.media_ips.iter().map(IpAddr::to_string));
    w.pair_text("from-tag", &c.from_tag);
    optional(w, "to-tag", c.to_tag.as_ref());
}

fn write_attribute_edits(w: &mut Writer<'_>, edits: &[AttributeEdits]) {
    if edits.is_empty() {
        return;
    }
    w.key("sdp-attr");
    w.open_dict();
    for edit in edits {
        w.key(if edit.kind.is_empty() { b"none" } else { edit.kind.as_slice() });
        w.open_dict();
        w.pair_list("add", edit.add.iter());
        w.pair_list("remove", edit.remove.iter());
        if !edit.substitute.is_empty() {
            w.key("substitute");
            w.open_list();
            for (from, to) in &edit.substitute {
                w.open_list();
                w.text(from);
                w.text(to);
                w.close_list();
            }
            w.close_list();
        }
        w.close_dict();
    }
    w.close_dict();
}

const ICE: [(&str, Ice); 5] = [
    ("remove", Ice::Remove),
    ("force", Ice::Force),
    ("default", Ice::Default),
    ("optional", Ice::Optional),
    ("force-relay", Ice::ForceRelay),
];

type Names<T, const N: usize> = [(&'static str, fn(&mut T) -> &mut bool); N];

/// Codecs that one list names at most.
const CODEC_NAMES: usize = 64;

type CodecList = fn(&mut Codecs) -> &mut Vec<Vec<u8>>;

const CODEC: [(&str, CodecList); 6] = [
    ("strip", |c| &mut c.strip),
    ("offer", |c| &mut c.offer),
    ("except", |c| &mut c.except),
    ("mask", |c| &mut c.mask),
    ("consume", |c| &mut c.consume),
    ("ignore", |c| &mut c.ignore),
];

const RTCP_MUX: Names<RtcpMux, 5> = [
    ("offer", |m| &mut m.offer),
    ("require", |m| &mut m.require),
    ("demux", |m| &mut m.demux),
    ("accept", |m| &mut m.accept),
    ("reject", |m| &mut m.reject),
];

const REPLACE: Names<Replace, 7> = [
    ("origin", |r| &mut r.origin),
    ("origin-full", |r| &mut r.origin_full),
    ("session-name", |r| &mut r.session_name),
    ("username", |r| &mut r.username),
    ("SDP-version", |r| &mut r.sdp_version),
    ("force-increment-sdp-ver", |r| &mut r.force_increment_sdp_version),
    ("zero-address", |r| &mut r.zero_address),
];

const FLAGS: Names<Flags, 15> = [
    ("trust-address", |f| &mut f.trust_address),
    ("SIP-source-address", |f| &mut f.sip_source_address),
    ("symmetric", |f| &mut f.symmetric),
    ("asymmetric", |f| &mut f.asymmetric),
    ("strict-source", |f| &mut f.strict_source),
    ("no-rtcp-attribute", |f| &mut f.no_rtcp_attribute),
    ("full-rtcp-attribute", |f| &mut f.full_rtcp_attribute),
    ("original-sendrecv", |f| &mut f.original_sendrecv),
    ("loop-protect", |f| &mut f.loop_protect),
    ("port-latching", |f| &mut f.port_latching),
    ("no-port-latching", |f| &mut f.no_port_latching),
    ("unidirectional", |f| &mut f.unidirectional),
    ("reset", |f| &mut f.reset),
    ("generate-mid", |f| &mut f.generate_mid),
    ("provisional", |f| &mut f.provisional),
];
