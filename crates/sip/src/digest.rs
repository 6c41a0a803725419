//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): challenges, credentials, stateless nonces; both sides, pure.
//!
//! Invariants: time, keys and randomness are arguments; the password itself is never kept, only H(A1) per algorithm, which prints redacted
//! (G-7); responses and nonce tags are compared in constant time; `qop=auth` always (T-SIP-08). Absent on purpose: auth-int, `-sess`, userhash.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use warp_model::{Mono, Secret, Wall};

use crate::header::{Header, Malformed, lex};
use crate::message::Message;

/// Hash of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RFC 7616; for realms of old devices only.
    Md5,
    /// SHA-256, as RFC 8760 adds it.
    Sha256,
}

impl Algorithm {
    /// Token of the `algorithm` parameter.
    pub fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// From the token; `None` for one that we do not speak.
    pub fn from_token(token: &[u8]) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256]
            .into_iter()
            .find(|a| token.eq_ignore_ascii_case(a.token().as_bytes()))
    }

    /// Hash of the parts joined by colons, as lower-case hexadecimal text.
    fn hash(self, parts: &[&[u8]]) -> Hex {
        fn feed<D: sha2::Digest>(parts: &[&[u8]]) -> Hex {
            let mut h = D::new();
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    h.update(b":");
                }
                h.update(part);
            }
            Hex::of(&h.finalize())
        }
        match self {
            Algorithm::Md5 => feed::<Md5>(parts),
            Algorithm::Sha256 => feed::<Sha256>(parts),
        }
    }
}

/// Hexadecimal text of a hash, without the heap.
#[derive(Clone, Copy)]
struct Hex {
    text: [u8; 64],
    len: usize,
}

impl Hex {
    fn of(bytes: &[u8]) -> Hex {
        let mut hex = Hex { text: [0; 64], len: 0 };
        for (pair, b) in hex.text.chunks_exact_mut(2).zip(bytes) {
            if let [hi, lo] = pair {
                *hi = hex_digit(b >> 4);
                *lo = hex_digit(b & 15);
            }
            hex.len = hex.len.saturating_add(2);
        }
        hex
    }

    fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or(b"")
    }
}

fn hex_digit(n: u8) -> u8 {
    match n {
        0..=9 => b'0'.wrapping_add(n),
        _ => b'a'.wrapping_sub(10).wrapping_add(n),
    }
}

/// H(A1) = H(user:realm:password), the stored secret of an account for one algorithm and realm, as lower-case hexadecimal text.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    algorithm: Algorithm,
    hex: Secret<Vec<u8>>,
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ha1({})", self.algorithm.token())
    }
}

impl Ha1 {
    /// From user, realm and password.
    pub fn new(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> Ha1 {
        let hex = algorithm.hash(&[user, realm, password]);
        Ha1 { algorithm, hex: Secret::new(hex.as_bytes().to_vec()) }
    }

    /// From stored hexadecimal text: 32 digits for MD5, 64 for SHA-256. `None` for anything else.
    pub fn from_hex(hex: &[u8]) -> Option<Ha1> {
        let algorithm = match hex.len() {
            32 => Algorithm::Md5,
            64 => Algorithm::Sha256,
            _ => return None,
        };
        let digits = hex.iter().all(u8::is_ascii_hexdigit);
        digits.then(|| Ha1 { algorithm, hex: Secret::new(hex.to_ascii_lowercase()) })
    }

    /// Which algorithm it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal text, for storing.
    pub fn reveal(&self) -> &[u8] {
        self.hex.reveal()
    }

    /// The response over nonce, counts, method and URI (RFC 7616 §3.4.1, qop=auth).
    fn response(&self, nonce: &[u8], nc: &[u8], cnonce: &[u8], method: &[u8], uri: &[u8]) -> Hex {
        let a2 = self.algorithm.hash(&[method, uri]);
        self.algorithm.hash(&[self.hex.reveal(), nonce, nc, cnonce, b"auth", a2.as_bytes()])
    }
}

/// Value of a WWW-Authenticate or Proxy-Authenticate line (RFC 7616 §3.3), appended to `out`. A realm that offers two algorithms gets two
/// lines, the better first (RFC 8760 §2.4). `realm` must have no quotes.
pub fn challenge(realm: &[u8], nonce: &[u8], algorithm: Algorithm, stale: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Digest realm=\"");
    out.extend_from_slice(realm);
    out.extend_from_slice(b"\", nonce=\"");
    out.extend_from_slice(nonce);
    let stale = if stale { ", stale=true" } else { "" };
    let _ = write!(out, "\", algorithm={}, qop=\"auth\"{stale}", algorithm.token());
}

/// A received challenge, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The realm, without its quotes.
    pub realm: &'a [u8],
    /// The nonce, without its quotes.
    pub nonce: &'a [u8],
    /// Algorithm; MD5 when none is named.
    pub algorithm: Algorithm,
    /// Whether qop=auth is offered; without any qop the answer is the old form of RFC 2069.
    pub qop_auth: bool,
    /// To be sent back as it is.
    pub opaque: Option<&'a [u8]>,
    /// The credentials were right, the nonce too old: try again without asking anybody.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// From a header's value. Errors: another scheme, an algorithm or qop that we do not speak, no realm or nonce.
    pub fn parse(value: &'a [u8]) -> Result<Challenge<'a>, Malformed> {
        let mut c = Challenge {
            realm: b"",
            nonce: b"",
            algorithm: Algorithm::Md5,
            qop_auth: false,
            opaque: None,
            stale: false,
        };
        let (mut realm, mut qop) = (false, false);
        for pair in Pairs::digest(value)? {
            let (name, value) = pair?;
            if name.eq_ignore_ascii_case(b"realm") {
                c.realm = value;
                realm = true;
            } else if name.eq_ignore_ascii_case(b"nonce") {
                c.nonce = value;
            } else if name.eq_ignore_ascii_case(b"opaque") {
                c.opaque = Some(value);
            } else if name.eq_ignore_ascii_case(b"stale") {
                c.stale = value.eq_ignore_ascii_case(b"true");
            } else if name.eq_ignore_ascii_case(b"algorithm") {
                c.algorithm = Algorithm::from_token(value).ok_or(Malformed("digest algorithm"))?;
            } else if name.eq_ignore_ascii_case(b"qop") {
                qop = true;
                c.qop_auth = value.split(|b| *b == b',').any(|q| lex::trim(q).eq_ignore_ascii_case(b"auth"));
            }
        }
        if !realm || c.nonce.is_empty() || (qop && !c.qop_auth) {
            return Err(Malformed("digest challenge"));
        }
        Ok(c)
    }
}

/// The best challenge of a 401 or 407 that we can answer: SHA-256 before MD5 (RFC 8760 §2.4). With it, the header that the answer goes into.
pub fn best_challenge<'a>(msg: &Message<'a>) -> Option<(Header, Challenge<'a>)> {
    let (ask, answer) = match msg.status()? {
        401 => (Header::WwwAuthenticate, Header::Authorization),
        407 => (Header::ProxyAuthenticate, Header::ProxyAuthorization),
        _ => return None,
    };
    let mut best: Option<Challenge<'a>> = None;
    for challenge in msg.lines_of(ask).filter_map(|v| Challenge::parse(v).ok()) {
        if best.is_none_or(|b| challenge.algorithm > b.algorithm) {
            best = Some(challenge);
        }
    }
    Some((answer, best?))
}

/// Value of an Authorization or Proxy-Authorization line for a challenge (RFC 7616 §3.4), appended to `out`.
/// `cnonce`: fresh random text without quotes; `nc`: 1 for the first use of this nonce, then rising.
#[allow(clippy::too_many_arguments)]
pub fn respond(
    challenge: &Challenge<'_>,
    user: &[u8],
    ha1: &Ha1,
    method: &[u8],
    uri: &[u8],
    cnonce: &[u8],
    nc: u32,
    out: &mut Vec<u8>,
) {
    let nc = format!("{nc:08x}");
    let response = if challenge.qop_auth {
        ha1.response(challenge.nonce, nc.as_bytes(), cnonce, method, uri)
    } else {
        let a2 = ha1.algorithm.hash(&[method, uri]);
        ha1.algorithm.hash(&[ha1.hex.reveal(), challenge.nonce, a2.as_bytes()])
    };
    out.extend_from_slice(b"Digest ");
    let pairs: [(&str, &[u8]); 5] = [
        ("username", user),
        ("realm", challenge.realm),
        ("nonce", challenge.nonce),
        ("uri", uri),
        ("response", response.as_bytes()),
    ];
    for (name, value) in pairs {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\", ");
    }
    let _ = write!(out, "algorithm={}", challenge.algorithm.token());
    if challenge.qop_auth {
        out.extend_from_slice(b", cnonce=\"");
        out.extend_from_slice(cnonce);
        let _ = write!(out, "\", qop=auth, nc={nc}");
    }
    if let Some(opaque) = challenge.opaque {
        out.extend_from_slice(b", opaque=\"");
        out.extend_from_slice(opaque);
        out.push(b'"');
    }
}

/// Received credentials, in place. Quoted values are given without their quotes and otherwise as written, which is also how they are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The header's whole value.
    pub raw: &'a [u8],
    /// The user name, without its quotes.
    pub username: &'a [u8],
    /// The realm that was challenged for.
    pub realm: &'a [u8],
    /// The nonce of the challenge.
    pub nonce: &'a [u8],
    /// The digest-uri, as it was signed.
    pub uri: &'a [u8],
    /// Response: 32 or 64 hexadecimal digits.
    pub response: &'a [u8],
    /// Algorithm; MD5 when none is named.
    pub algorithm: Algorithm,
    /// The nonce of the client.
    pub cnonce: &'a [u8],
    /// Nonce count as written, 8 hexadecimal digits.
    pub nc: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// From a header's value. Errors: another scheme, an unknown algorithm, a qop other than auth, a field missing, empty or given twice.
    pub fn parse(raw: &'a [u8]) -> Result<Credentials<'a>, Malformed> {
        const NAMES: [&[u8]; 9] =
            [b"username", b"realm", b"nonce", b"uri", b"response", b"cnonce", b"nc", b"qop", b"algorithm"];
        let mut found: [Option<&'a [u8]>; 9] = [None; 9];
        for pair in Pairs::digest(raw)? {
            let (name, value) = pair?;
            let slot = NAMES.iter().position(|n| name.eq_ignore_ascii_case(n)).and_then(|i| found.get_mut(i));
            if let Some(slot) = slot
                && slot.replace(value).is_some()
            {
                return Err(Malformed("digest field given twice"));
            }
        }
        let [
            Some(username),
            Some(realm),
            Some(nonce),
            Some(uri),
            Some(response),
            Some(cnonce),
            Some(nc),
            Some(qop),
            algorithm,
        ] = found
        else {
            return Err(Malformed("digest field missing"));
        };
        if !qop.eq_ignore_ascii_case(b"auth") {
            return Err(Malformed("digest qop"));
        }
        if nc.len() != 8 || !nc.iter().all(u8::is_ascii_hexdigit) || cnonce.is_empty() {
            return Err(Malformed("digest count"));
        }
        let algorithm = match algorithm {
            None => Algorithm::Md5,
            Some(a) => Algorithm::from_token(a).ok_or(Malformed("digest algorithm"))?,
        };
        Ok(Credentials { raw, username, realm, nonce, uri, response, algorithm, cnonce, nc })
    }

    /// Nonce count as a number.
    pub fn count(&self) -> u32 {
        std::str::from_utf8(self.nc).ok().and_then(|s| u32::from_str_radix(s, 16).ok()).unwrap_or(0)
    }
}

/// The credentials of a request for a realm, if it has well-formed ones there. `header`: Authorization or Proxy-Authorization.
pub fn credentials<'a>(msg: &Message<'a>, header: Header, realm: &[u8]) -> Option<Credentials<'a>> {
    msg.lines_of(header).filter_map(|v| Credentials::parse(v).ok()).find(|c| c.realm == realm)
}

/// Whether the credentials prove knowledge of the password: response compared in constant time. `method`: the request's token. For an unknown
/// user call it with [`Ha1::decoy`] and refuse whatever it says, so that both take the same time (T-SIP-08).
pub fn verify(credentials: &Credentials<'_>, method: &[u8], ha1: &Ha1) -> bool {
    let c = credentials;
    let expected = ha1.response(c.nonce, c.nc, c.cnonce, method, c.uri);
    let mut given = [0_u8; 64];
    let len = c.response.len().min(given.len());
    if let (Some(to), Some(from)) = (given.get_mut(..len), c.response.get(..len)) {
        to.copy_from_slice(from);
        to.make_ascii_lowercase();
    }
    let same = given.get(..expected.len).unwrap_or(b"").ct_eq(expected.as_bytes());
    bool::from(same) && c.response.len() == expected.len && c.algorithm == ha1.algorithm
}

impl Ha1 {
    /// Stands in for the secret of an unknown user.
    pub fn decoy(algorithm: Algorithm) -> Ha1 {
        Ha1::new(algorithm, b"", b"", b"")
    }
}

/// What a nonce turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceState {
    /// Ours, for this realm and source, and young enough. With its identity for [`NonceCounts`].
    Fresh(u64),
    /// Ours, but too old (or from the future: a clock jumped): challenge again with stale=true.
    Stale,
    /// Not ours, or for another realm or source.
    Forged,
}

/// How long a nonce lives (T-SIP-09).
pub const NONCE_LIFE: Duration = Duration::from_secs(60);
/// Bytes of nonce text.
pub const NONCE_LEN: usize = 64;

/// Makes and checks nonces without state: time, random and a tag over both, the realm and the source's address class, under a key
/// of the process, the same for all its shards. A process makes its key at its start: a nonce of another node, or of before a
/// restart, is refused and the client is challenged anew. A maker with a previous key checks with that one too (T-SIP-09).
#[derive(Clone, Debug)]
pub struct NonceIssuer {
    current: Secret<[u8; 32]>,
    previous: Option<Secret<[u8; 32]>>,
}

impl NonceIssuer {
    /// With the key that nonces are made with, and one that they were made with before, if any.
    pub fn new(current: [u8; 32], previous: Option<[u8; 32]>) -> NonceIssuer {
        NonceIssuer { current: Secret::new(current), previous: previous.map(Secret::new) }
    }

    /// A nonce for a realm and a source. `random`: fresh 64 bits.
    pub fn issue(&self, now: Wall, random: u64, realm: &[u8], source: IpAddr) -> [u8; NONCE_LEN] {
        let mut raw = [0_u8; 32];
        let time = now.unix_ms().to_be_bytes();
        let head = time.into_iter().chain(random.to_be_bytes());
        for (to, from) in raw.iter_mut().zip(head) {
            *to = from;
        }
        let tag = tag(self.current.reveal(), raw.get(..16).unwrap_or(b""), realm, source);
        for (to, from) in raw.iter_mut().skip(16).zip(tag) {
            *to = from;
        }
        Hex::of(&raw).text
    }

    /// What a nonce in credentials is worth.
    pub fn check(&self, nonce: &[u8], now: Wall, realm: &[u8], source: IpAddr) -> NonceState {
        let Some(raw) = unhex(nonce) else {
            return NonceState::Forged;
        };
        let Some((head, given)) = raw.split_at_checked(16) else {
            return NonceState::Forged;
        };
        let good = |key: &Secret<[u8; 32]>| bool::from(tag(key.reveal(), head, realm, source).ct_eq(given));
        if !good(&self.current) && !self.previous.as_ref().is_some_and(good) {
            return NonceState::Forged;
        }
        let (Some(time), Some(random)) = (head.first_chunk::<8>(), head.last_chunk::<8>()) else {
            return NonceState::Forged;
        };
        let age_ms = now.unix_ms().saturating_sub(i64::from_be_bytes(*time));
        let life_ms = i64::try_from(NONCE_LIFE.as_millis()).unwrap_or(i64::MAX);
        if (life_ms.saturating_neg()..=life_ms).contains(&age_ms) {
            NonceState::Fresh(u64::from_be_bytes(*random) ^ u64::from_be_bytes(*time).rotate_left(32))
        } else {
            NonceState::Stale
        }
    }
}

/// HMAC-SHA-256, cut to 128 bits, over time and random, realm and address class. The class is the /24 or /64 of the source: phones behind
/// one NAT change address within it, a thief elsewhere does not share it.
fn tag(key: &[u8; 32], head: &[u8], realm: &[u8], source: IpAddr) -> [u8; 16] {
    // A key of 32 bytes is one that every HMAC takes.
    let mut mac = match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => return [0; 16],
    };
    mac.update(head);
    mac.update(&u64::try_from(realm.len()).unwrap_or(0).to_be_bytes());
    mac.update(realm);
    match source.to_canonical() {
        IpAddr::V4(ip) => mac.update(ip.octets().get(..3).unwrap_or(b"")),
        IpAddr::V6(ip) => mac.update(ip.octets().get(..8).unwrap_or(b"")),
    }
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(mac.finalize().into_bytes()) {
        *to = from;
    }
    out
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != NONCE_LEN {
        return None;
    }
    let mut raw = [0_u8; 32];
    for (to, pair) in raw.iter_mut().zip(text.chunks_exact(2)) {
        let [a, b] = pair else { return None };
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b.wrapping_sub(b'0')),
            b'a'..=b'f' => Some(b.wrapping_sub(b'a').wrapping_add(10)),
            _ => None,
        };
        *to = digit(*a)? << 4 | digit(*b)?;
    }
    Some(raw)
}

/// Highest count seen of each nonce in use: a count that does not rise is a replay (T-SIP-09). Bounded: only verified credentials enter it,
/// entries go after the nonce's life, and when it is full nobody new is taken in (stale=true), which costs a client one more exchange.
#[derive(Debug)]
pub struct NonceCounts {
    /// Two generations, each as long as a nonce lives: what is looked up is in one of them.
    young: HashMap<u64, u32>,
    old: HashMap<u64, u32>,
    turned: Mono,
    capacity: usize,
}

impl NonceCounts {
    /// For at most `capacity` nonces in use (1,000,000 by default in WARP).
    pub fn new(capacity: usize, now: Mono) -> NonceCounts {
        NonceCounts { young: HashMap::new(), old: HashMap::new(), turned: now, capacity }
    }

    /// Takes note of a verified use. False: a replay, or full; answer with stale=true.
    pub fn accept(&mut self, nonce: u64, count: u32, now: Mono) -> bool {
        // A nonce may be read up to twice its life after it was made, when a clock is behind; a generation is that long.
        let generation = NONCE_LIFE.saturating_mul(2);
        let age = now.since(self.turned);
        if age >= generation {
            self.old = if age >= generation.saturating_mul(2) {
                HashMap::new()
            } else {
                std::mem::take(&mut self.young)
            };
            self.young = HashMap::new();
            self.turned = now;
        }
        let seen = self.young.get(&nonce).or_else(|| self.old.get(&nonce)).copied();
        if count == 0 || seen.is_some_and(|s| count <= s) {
            return false;
        }
        // An old entry moves over; only a new one needs room.
        let known = self.old.remove(&nonce).is_some() || self.young.contains_key(&nonce);
        if !known && self.len() >= self.capacity {
            return false;
        }
        self.young.insert(nonce, count);
        true
    }

    /// How many nonces are remembered.
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `name=value` pairs of a Digest header (RFC 7616 §3.3, RFC 3261 §25.1 `digest-cln`): values without quotes.
struct Pairs<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Pairs<'a> {
    fn digest(value: &'a [u8]) -> Result<Pairs<'a>, Malformed> {
        let (scheme, rest) = lex::token(lex::trim(value));
        let rest_trimmed = lex::trim_start(rest);
        if !scheme.eq_ignore_ascii_case(b"Digest") || rest_trimmed.len() == rest.len() {
            return Err(Malformed("authentication scheme"));
        }
        Ok(Pairs { rest: rest_trimmed, left: warp_model::limits::SIP_PARAMS })
    }

    fn pair(&mut self) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed("too many parameters"))?;
        let (name, rest) = lex::token(self.rest);
        let rest = lex::trim_start(rest).strip_prefix(b"=").ok_or(Malformed("digest field"))?;
        let rest = lex::trim_start(rest);
        let (value, rest) = match lex::quoted(rest) {
            Some((quoted, rest)) => (quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or(b""), rest),
            None => lex::token(rest),
        };
        let rest = lex::trim_start(rest);
        self.rest = match rest.strip_prefix(b",") {
            Some(rest) => lex::trim_start(rest),
            None if rest.is_empty() => b"",
            None => return Err(Malformed("digest field")),
        };
        if name.is_empty() { Err(Malformed("digest field")) } else { Ok((name, value)) }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.rest = b"";
        }
        Some(pair)
    }
}
