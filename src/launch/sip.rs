//! Profiles `proxy` and `registrar`: the SIP proxy without policy, media or database.

use std::net::SocketAddr;
use std::str::FromStr;

use warp_sip_proxy::core::{
    Accounts, Bounds, Cidr, CoreConfig, Listener, Mode, Realm, RegistrarConfig, SharedRegistrations,
    Transport,
};
use warp_sip_proxy::{State, TlsFiles};
use warp_telemetry::Registry;

use super::settings::{self, Settings};
use super::{logs, ready, seed, wait_for_stop};
use crate::cli::Failure;
use crate::signals;

/// `IP:PORT`, perhaps with `;transport=…`: a request goes on by the transport that it came by; by this one, when it came by TLS or WebSocket.
#[derive(Clone, Copy)]
struct Next(SocketAddr, Transport);

impl FromStr for Next {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, more) = text.split_once(';').unwrap_or((text, ""));
        let named = more.split(';').find_map(|p| p.strip_prefix("transport="));
        let transport = named.and_then(|t| Transport::from_token(t.as_bytes()));
        let at = at.parse().map_err(|_| settings::NO_ADDRESS)?;
        Ok(Next(at, transport.unwrap_or(Transport::Udp)))
    }
}

/// What both profiles are given.
struct Common {
    listen: SocketAddr,
    trusted: Vec<Cidr>,
    shards: u16,
    pin_shards: bool,
    lenient: bool,
    ops: Option<SocketAddr>,
    /// Further listeners: TLS, WebSocket, and both.
    links: Vec<(Transport, SocketAddr)>,
    files: Option<TlsFiles>,
    origins: Vec<String>,
}

impl Common {
    fn take(settings: &mut Settings) -> Result<Common, Failure> {
        let mut trusted = Vec::new();
        for list in settings.take_all::<String>("trusted")? {
            for part in list.split(',').filter(|p| !p.is_empty()) {
                let cidr: Cidr =
                    part.parse().map_err(|e| Failure::new(format!("trusted={part}: {e}")).with_code(2))?;
                trusted.push(cidr);
            }
        }
        if trusted.is_empty() {
            trusted.push(Cidr::host([127, 0, 0, 1].into()));
        }
        let mut links = Vec::new();
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            links.extend(settings.take_at(transport.param())?.map(|at| (transport, at)));
        }
        let (certificate, key) = (settings.take("cert")?, settings.take("key")?);
        let roots = settings.take("ca")?;
        let files = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, roots }),
            (None, None) if !links.iter().any(|(t, _)| t.is_secure()) => None,
            _ => return Err(Failure::new("tls= and wss= need cert=FILE and key=FILE").with_code(2)),
        };
        Ok(Common {
            links,
            files,
            origins: settings.take_all("origin")?,
            listen: settings.take_at("listen")?.unwrap_or(([127, 0, 0, 1], 5060).into()),
            trusted,
            shards: settings.take::<settings::Shards>("shards")?.map_or(1, |s| s.0),
            pin_shards: settings.take::<settings::Switch>("pin")?.is_some_and(|s| s.0),
            lenient: settings.take::<settings::Switch>("lenient")?.is_some_and(|s| s.0),
            ops: settings.take_at("ops")?,
        })
    }

    fn listeners(&self) -> Vec<Listener> {
        let listener = |transport, bind| Listener { transport, bind, advertise: None };
        let mut all = vec![listener(Transport::Udp, self.listen), listener(Transport::Tcp, self.listen)];
        all.extend(self.links.iter().map(|(transport, at)| listener(*transport, *at)));
        all
    }

    /// Runs a proxy of this configuration until it is told to stop. `more`: further words of the ready line.
    fn run(
        self,
        profile: &str,
        mut core: CoreConfig,
        registry: &Registry,
        more: &[(&str, String)],
        redis: Option<warp_state::Options>,
    ) -> Result<u8, Failure> {
        let (_, asks) = signals::listen().map_err(|e| Failure::new(format!("signals: {e}")))?;
        core.lenient_names = self.lenient;
        let mut config = warp_sip_proxy::Config::new(core);
        config.shards = self.shards;
        config.pin_shards = self.pin_shards;
        config.tls = self.files;
        config.web_origins = self.origins;
        let health = warp_telemetry::Health::new(registry);
        let state = redis.map(|options| State {
            options,
            seconds: Some(warp_telemetry::health::request_seconds(registry, "redis")),
            health: Some(health.optional("redis")),
        });
        let handles = warp_sip_proxy::Handles {
            state,
            snapshots: None,
            media: warp_sip_proxy::MediaControl::None,
            journal: None,
            capture: None,
            spent: Vec::new(),
            seed: seed()?,
            metrics: warp_sip_proxy::Metrics::register(registry),
        };
        let proxy = warp_sip_proxy::start(config, handles)
            .map_err(|e| Failure::new(format!("listen={}: {e}", self.listen)))?;
        let _ops = crate::run::OpsThread::start(self.ops, registry, &health)?;
        let at = proxy.udp_addr().unwrap_or(self.listen);
        let mut pairs = vec![("listen", at.to_string())];
        pairs.extend(more.iter().cloned());
        let links = proxy.addresses().iter().filter(|(t, _)| !matches!(t, Transport::Udp | Transport::Tcp));
        pairs.extend(links.map(|(transport, at)| (transport.param(), at.to_string())));
        pairs.push(("shards", self.shards.to_string()));
        ready(profile, &pairs)?;
        wait_for_stop(&asks);
        proxy.stop();
        Ok(0)
    }
}

/// `proxy`: a stateful record-routing proxy. See `loadtests/README.md` for its settings.
pub(super) fn proxy(settings: &mut Settings) -> Result<u8, Failure> {
    let registry = Registry::new();
    logs(settings, &registry)?;
    let common = Common::take(settings)?;
    let outbound = settings.take::<Next>("outbound")?;
    // Where everything has one way out, what is addressed to the proxy itself has the same.
    let next = settings.take::<Next>("next")?.or(outbound);
    settings.finish()?;
    let next = next.ok_or_else(|| {
        Failure::new("next=IP:PORT is needed, or outbound=IP:PORT")
            .with_code(2)
            .hint("see loadtests/README.md")
    })?;
    let mode = Mode::Static { next: next.0, trusted: common.trusted.clone() };
    let mut core = CoreConfig::new(mode, common.listeners());
    core.outbound = outbound.map(|to| to.0);
    core.next_transport = outbound.unwrap_or(next).1;
    let mut more = vec![("next", next.0.to_string())];
    more.extend(outbound.map(|to| ("outbound", to.0.to_string())));
    common.run("proxy", core, &registry, &more, None)
}

/// The one domain of the profile `registrar`, and its realm.
const DOMAIN: &str = "carrier.test";

/// The algorithm of `digest=`.
struct Digest(Realm);

impl FromStr for Digest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let realm = |sha256| Digest(Realm { name: DOMAIN.to_owned(), sha256, md5: !sha256 });
        match text {
            "md5" => Ok(realm(false)),
            "sha-256" => Ok(realm(true)),
            _ => Err("md5 or sha-256"),
        }
    }
}

/// The address of `redis=`.
struct Redis(warp_state::Options);

impl FromStr for Redis {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        warp_state::Options::new(text).map(Redis)
    }
}

/// When `mode=` lets changes be written.
struct Writing(warp_state::Mode);

impl FromStr for Writing {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "through" => Ok(Writing(warp_state::Mode::Through)),
            "behind" => Ok(Writing(warp_state::Mode::Behind)),
            _ => Err("through or behind"),
        }
    }
}

/// `registrar`: users register and are called. See `loadtests/README.md` for its settings.
pub(super) fn registrar(settings: &mut Settings) -> Result<u8, Failure> {
    let registry = Registry::new();
    logs(settings, &registry)?;
    let common = Common::take(settings)?;
    // MD5, because SIPp of Debian knows no other.
    let digest = settings.take::<Digest>("digest")?.map_or_else(|| "md5".parse(), Ok);
    let (redis, mode) = (settings.take::<Redis>("redis")?, settings.take::<Writing>("mode")?);
    let server_id = settings.take("server-id")?.unwrap_or(0);
    if redis.is_none() && mode.is_some() {
        return Err(Failure::new("mode= needs redis=redis://HOST:PORT/DB").with_code(2));
    }
    settings.finish()?;
    let redis = redis.map(|Redis(options)| {
        let mode = mode.map_or(options.mode, |m| m.0);
        Redis(warp_state::Options { mode, ..options })
    });
    let registrar = RegistrarConfig {
        domain: DOMAIN.to_owned(),
        accounts: Accounts::Derived { prefix: "pw-".to_owned() },
        bounds: Bounds::default(),
        trusted: common.trusted.clone(),
        shared: redis.as_ref().map(|Redis(options)| SharedRegistrations {
            through: options.mode == warp_state::Mode::Through,
            server_id,
            deadline: options.deadline,
        }),
    };
    let mut core = CoreConfig::new(Mode::Registrar(registrar), common.listeners());
    core.domains = vec![DOMAIN.to_owned()];
    core.realm = digest.map_err(Failure::new)?.0;
    let more = [("domain", DOMAIN.to_owned())];
    common.run("registrar", core, &registry, &more, redis.map(|r| r.0))
}
