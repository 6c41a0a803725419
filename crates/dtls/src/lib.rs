//! The handshake of DTLS-SRTP (RFC 5763, RFC 5764) over `dimpl`, as the relay's session machine drives it.
//!
//! [`Identity`] is a certificate and makes handshakes; each takes datagrams and a time and gives datagrams back, and at its
//! end the two keys. Invariants: a certificate whose digest is not one of the SDP's ends the handshake without a key; what
//! comes after the keys cannot unmake them. It is a room of its own because the library draws its randomness from the
//! operating system, which cores do not link. Absent on purpose: data channels, resumption, DTLS below 1.2, RSA.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use warp_media::keying::{Fingerprint, Handshake, HandshakeMaker, Progress};
use warp_media::srtp::{CryptoLine, Suite};
use warp_model::Mono;

/// The largest datagram that is read or written: a flight is cut into pieces of 1,150 bytes.
const DATAGRAM: usize = 4_096;
/// First wait before a flight is sent again (RFC 6347 §4.2.4.1 says one second; a call does not wait as long).
const FLIGHT: Duration = Duration::from_millis(500);
/// A flight is sent again so often.
const AGAIN: usize = 6;
/// A handshake that has not ended by then is given up.
const DEADLINE: Duration = Duration::from_secs(30);

/// A self-signed certificate (ECDSA on P-256) and its key.
pub struct Identity {
    certificate: DtlsCertificate,
    config: Arc<Config>,
    /// The same moment on both clocks: the library counts in the other one.
    anchor: (Mono, Instant),
}

/// Never shows a key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} bytes)", self.certificate.certificate.len())
    }
}

impl Identity {
    /// A new one, of the operating system's randomness. `now` is this moment. `None`: there is no randomness.
    pub fn generate(now: Mono) -> Option<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).ok()?;
        let mut params = CertificateParams::new(Vec::<String>::new()).ok()?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "WARP");
        let certificate = DtlsCertificate {
            certificate: params.self_signed(&key).ok()?.der().to_vec(),
            private_key: key.serialize_der(),
        };
        let config = Config::builder()
            .flight_start_rto(FLIGHT)
            .flight_retries(AGAIN)
            .handshake_timeout(DEADLINE)
            .build()
            .ok()?;
        Some(Self { certificate, config: Arc::new(config), anchor: (now, Instant::now()) })
    }
}

impl HandshakeMaker for Identity {
    fn make(&self, active: bool, fingerprints: &[Fingerprint], now: Mono) -> Option<Box<dyn Handshake>> {
        let instant = instant(self.anchor, now);
        let mut dtls = Dtls::new_auto(Arc::clone(&self.config), self.certificate.clone(), instant);
        dtls.set_active(active);
        let mut association = Association {
            dtls,
            active,
            fingerprints: fingerprints.to_vec(),
            anchor: self.anchor,
            is_known: false,
            is_done: false,
            due: None,
            out: VecDeque::new(),
            buffer: vec![0; DATAGRAM],
        };
        if active {
            let _ = association.handle_timeout(now);
        }
        Some(Box::new(association))
    }

    fn certificate(&self) -> &[u8] {
        &self.certificate.certificate
    }
}

fn instant((mono, instant): (Mono, Instant), at: Mono) -> Instant {
    instant.checked_add(at.since(mono)).unwrap_or(instant)
}

/// One handshake and what follows it.
struct Association {
    dtls: Dtls,
    active: bool,
    fingerprints: Vec<Fingerprint>,
    anchor: (Mono, Instant),
    /// The peer's certificate is one that the SDP named.
    is_known: bool,
    is_done: bool,
    due: Option<Instant>,
    out: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Association(active: {}, done: {})", self.active, self.is_done)
    }
}

impl Association {
    /// Takes what the library has, until it waits.
    fn drain(&mut self) -> Progress {
        let mut progress = Progress::UnderWay;
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(packet) => self.out.push_back(packet.to_vec()),
                Output::BufferTooSmall { needed } if needed <= 65_536 => self.buffer.resize(needed, 0),
                Output::PeerCert(certificate) => {
                    self.is_known = self.fingerprints.iter().any(|f| f.fits(certificate));
                    if !self.is_known {
                        return Progress::Ended;
                    }
                }
                Output::KeyingMaterial(material, profile) => {
                    let keys = self.is_known.then(|| keys(&material, profile, self.active)).flatten();
                    self.is_done = keys.is_some();
                    progress = keys.map_or(Progress::Ended, |keys| Progress::Done(Box::new(keys)));
                }
                Output::CloseNotify if !self.is_done => return Progress::Ended,
                Output::Timeout(at) => {
                    self.due = Some(at);
                    return progress;
                }
                Output::BufferTooSmall { .. } => return Progress::Ended,
                // Data channels are nobody's here.
                _ => {}
            }
        }
    }

    fn end(&self) -> Progress {
        // Once there are keys nothing that comes unmakes them.
        if self.is_done { Progress::UnderWay } else { Progress::Ended }
    }
}

/// RFC 5764 §4.2: client's key, server's key, client's salt, server's salt. That of what the peer sends comes first.
fn keys(material: &[u8], profile: SrtpProfile, active: bool) -> Option<[CryptoLine; 2]> {
    let suite = match profile {
        SrtpProfile::AEAD_AES_256_GCM => Suite::Gcm256,
        SrtpProfile::AEAD_AES_128_GCM => Suite::Gcm128,
        SrtpProfile::AES128_CM_SHA1_80 => Suite::Cm128Long,
        _ => return None,
    };
    let (key, salt) = (suite.key_len(), suite.salt_len());
    let (keys, salts) = material.split_at_checked(key.checked_mul(2)?)?;
    let line = |at: usize| {
        let part =
            |bytes: &[u8], size: usize| bytes.get(at.checked_mul(size)?..)?.get(..size).map(<[u8]>::to_vec);
        CryptoLine::new(1, suite, [part(keys, key)?, part(salts, salt)?].concat())
    };
    let (client, server) = (line(0)?, line(1)?);
    Some(if active { [server, client] } else { [client, server] })
}

impl Handshake for Association {
    fn handle(&mut self, datagram: &[u8], now: Mono) -> Progress {
        if datagram.len() > DATAGRAM {
            return Progress::UnderWay;
        }
        let now = instant(self.anchor, now);
        let taken = self.dtls.handle_timeout(now).and_then(|()| self.dtls.handle_packet(datagram));
        match (taken, self.drain()) {
            // What was made before the library gave up holds.
            (Err(_), Progress::UnderWay) => self.end(),
            (_, progress) => progress,
        }
    }

    fn handle_timeout(&mut self, now: Mono) -> Progress {
        let taken = self.dtls.handle_timeout(instant(self.anchor, now));
        match (taken, self.drain()) {
            (Err(_), Progress::UnderWay) => self.end(),
            (_, progress) => progress,
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        let at = self.due.filter(|_| !self.is_done)?;
        Some(self.anchor.0 + at.saturating_duration_since(self.anchor.1))
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }
}
