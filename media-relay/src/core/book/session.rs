//! ICE and DTLS of one side of a media line: what of it is ours, what is agreed, and what the port's session begins with.
//!
//! Ours (fragment, password, where keys will come) is made when it is first wanted and lives as long as the side's ports, so
//! that branches which share the ports share it. What an answer settles becomes a [`SessionSetup`] for each component. A
//! re-offer that changes neither credentials nor certificate leaves the running session as it is; new credentials are an ICE
//! restart, a new certificate a new handshake (RFC 8842 §5). An offer that waits changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use warp_media::ice::{Candidate, Credentials, IceSetup};
use warp_media::keying::{DtlsSetup, HandshakeMaker, KeySlot, SlotMaker};
use warp_media::pipeline::StageMaker;
use warp_media::session::SessionSetup;

use super::config::KeySource;
use crate::core::secure::{DtlsSaid, IceSaid, Setup, priority};

/// Bytes behind our fragment and our password: 48 and 144 bits (RFC 8445 §5.3 wants 24 and 128).
const FRAGMENT: usize = 6;
const PASSWORD: usize = 18;

/// What is ours in the checks of one side.
#[derive(Clone, Debug)]
struct Ours {
    credentials: Credentials,
    tie_breaker: u64,
    seed: [u8; 12],
}

impl Ours {
    fn new(keys: KeySource) -> Option<Self> {
        let mut bytes = [0; FRAGMENT + PASSWORD + 20];
        (keys.0)(&mut bytes).then_some(())?;
        let (fragment, rest) = bytes.split_at_checked(FRAGMENT)?;
        let (password, rest) = rest.split_at_checked(PASSWORD)?;
        let (tie, seed) = rest.split_first_chunk::<8>()?;
        let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        Some(Self {
            credentials: Credentials { ufrag: text(fragment), password: text(password) },
            tie_breaker: u64::from_be_bytes(*tie),
            seed: *seed.first_chunk()?,
        })
    }
}

/// Where the keys of one component come, and the stages that wait for them.
#[derive(Clone, Debug)]
struct Keys {
    slot: Arc<KeySlot>,
    /// What opens, and what closes.
    stages: [Arc<dyn StageMaker>; 2],
}

impl Keys {
    fn new() -> Self {
        let slot = Arc::default();
        let stages = SlotMaker::both(&slot);
        Self { slot, stages }
    }
}

/// What one round of offer and answer settles for one side.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// What the party says of ICE, where both speak it.
    pub(super) ice: Option<Arc<IceSaid>>,
    /// The party made the offer: it decides on the pair.
    pub(super) offerer: bool,
    /// What it says of DTLS, and whether we begin.
    pub(super) dtls: Option<(Arc<DtlsSaid>, bool)>,
}

/// ICE and DTLS with one party, as far as they have come.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    ours: Option<Ours>,
    keys: Option<[Keys; 2]>,
    /// The party's packets are closed by keys of a handshake, done or to come.
    is_closed: bool,
    setups: [Option<Arc<SessionSetup>>; 2],
}

impl Session {
    /// The side has new ports, or is plain from now on.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Makes what is ours of ICE. False: there is no randomness.
    pub(super) fn prepare_ice(&mut self, keys: KeySource) -> bool {
        if self.ours.is_none() {
            self.ours = Ours::new(keys);
        }
        self.ours.is_some()
    }

    /// The party sends what only a handshake opens, from now on.
    pub(super) fn close(&mut self) {
        self.keys.get_or_insert_with(|| [Keys::new(), Keys::new()]);
        self.is_closed = true;
    }

    /// The party is plain, or uses keys of its SDP.
    pub(super) fn open(&mut self) {
        self.is_closed = false;
    }

    /// Our fragment and password, as the party sees them.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.ours.as_ref().map(|o| &o.credentials)
    }

    /// Media is opened and closed by keys of a handshake.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The peer is who passes a check.
    pub(super) fn is_checked(&self) -> bool {
        self.setups.iter().flatten().any(|s| s.ice.is_some())
    }

    /// We decide on the pair.
    pub(super) fn is_controlling(&self) -> bool {
        self.setups.iter().flatten().filter_map(|s| s.ice.as_ref()).any(|ice| ice.controlling)
    }

    /// Whether we begin the handshake that was agreed on.
    pub(super) fn active(&self) -> Option<bool> {
        self.agreed_dtls().map(|d| d.active)
    }

    /// We only answer checks.
    pub(super) fn is_lite(&self) -> bool {
        self.agreed_ice().is_some_and(|ice| ice.lite)
    }

    fn agreed_dtls(&self) -> Option<&DtlsSetup> {
        self.setups.iter().flatten().find_map(|s| s.dtls.as_ref())
    }

    fn agreed_ice(&self) -> Option<&IceSetup> {
        self.setups.iter().flatten().find_map(|s| s.ice.as_ref())
    }

    /// Whether we begin the handshake with a party that says this: as before while its certificate is the same, else as it
    /// leaves us, else as `wish` says.
    pub(super) fn begins(&self, said: &DtlsSaid, wish: bool) -> bool {
        match said.setup {
            Setup::Active => false,
            Setup::Passive => true,
            Setup::ActPass => match self.agreed_dtls() {
                Some(before) if before.fingerprints == said.fingerprints => before.active,
                _ => wish,
            },
        }
    }

    /// New credentials of the party ask for new ones of ours (RFC 8445 §9).
    pub(super) fn restart(&mut self, said: &IceSaid, keys: KeySource) {
        let is_new = self.agreed_ice().is_some_and(|before| before.theirs != said.credentials);
        if is_new || self.ours.is_none() {
            self.ours = Ours::new(keys);
        }
    }

    /// An answer settled it. `candidates` are those that we may send to, by component; `peers` the addresses of the SDP.
    pub(super) fn settle(
        &mut self,
        settled: &Settled,
        maker: Option<&Arc<dyn HandshakeMaker>>,
        candidates: [Vec<Candidate>; 2],
        peers: [Option<SocketAddr>; 2],
        lite: bool,
    ) {
        let dtls = settled.dtls.as_ref().zip(maker);
        if let Some(((said, active), _)) = &dtls {
            let same =
                |before: &DtlsSetup| before.active == *active && before.fingerprints == said.fingerprints;
            if self.agreed_dtls().is_some_and(|before| !same(before)) {
                self.keys = None;
            }
            self.close();
        } else {
            (self.is_closed, self.keys) = (false, None);
        }
        let before = self.agreed_ice().map(|ice| (ice.theirs.clone(), ice.controlling));
        let ice = settled.ice.as_ref().zip(self.ours.clone());
        let mut setups: [Option<Arc<SessionSetup>>; 2] = [None, None];
        let parts = setups.iter_mut().zip(candidates).zip(peers).zip(0u32..);
        for (((setup, candidates), peer), component) in parts {
            let ice = ice.as_ref().map(|(said, ours)| {
                let role = before.as_ref().filter(|(theirs, _)| *theirs == said.credentials).map(|(_, c)| *c);
                let mut seed = ours.seed;
                if let Some(last) = seed.last_mut() {
                    *last ^= component as u8;
                }
                IceSetup {
                    ours: ours.credentials.clone(),
                    theirs: said.credentials.clone(),
                    candidates,
                    // The offerer decides, unless it cannot (RFC 8445 §6.1.1).
                    controlling: role.unwrap_or((!settled.offerer || said.lite) && !lite),
                    lite,
                    tie_breaker: ours.tie_breaker,
                    seed,
                    priority: priority(component),
                }
            });
            let keys = self.keys.as_ref().and_then(|k| k.get(usize::try_from(component).unwrap_or(0)));
            let dtls = dtls.as_ref().zip(keys).map(|(((said, active), maker), keys)| DtlsSetup {
                maker: Arc::clone(maker),
                active: *active,
                fingerprints: said.fingerprints.clone(),
                slot: Arc::clone(&keys.slot),
            });
            if ice.is_some() || dtls.is_some() {
                *setup = Some(Arc::new(SessionSetup { ice, dtls, peer }));
            }
        }
        self.setups = setups;
    }

    fn stage(&self, component: usize, which: usize) -> Option<Arc<dyn StageMaker>> {
        let keys = self.keys.as_ref().filter(|_| self.is_closed)?.get(component)?;
        keys.stages.get(which).cloned()
    }

    /// Opens what comes to the port of a component: 0 RTP, 1 RTCP.
    pub(super) fn unprotect(&self, component: usize) -> Option<Arc<dyn StageMaker>> {
        self.stage(component, 0)
    }

    /// Closes what goes from it.
    pub(super) fn protect(&self, component: usize) -> Option<Arc<dyn StageMaker>> {
        self.stage(component, 1)
    }

    /// What the session of its port begins with.
    pub(super) fn setup(&self, component: usize) -> Option<Arc<SessionSetup>> {
        self.setups.get(component).cloned().flatten()
    }
}
