//! What a node listens on, and which two of it cannot stand beside each other.

use std::net::{IpAddr, SocketAddr};

use warp_sip_proxy::core::Transport;

use super::{Config, Loaded};

/// The keys of [`Listening`].
pub const LISTEN_KEYS: [&str; 9] = [
    "ops.listen",
    "sip.listen",
    "api.listen",
    "media.ng",
    "media.ng_tcp",
    "media.http",
    "smsc.listen",
    "smsc.listen_tls",
    "smsc.http",
];

/// One address that a configuration listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The key that names it, as `section.key`.
    pub key: &'static str,
    /// Address and port; port 0 is any free one.
    pub at: SocketAddr,
    /// By UDP; otherwise by TCP.
    pub udp: bool,
}

impl Listening {
    fn meets(&self, other: &Self) -> bool {
        let (a, b) = (self.at.ip(), other.at.ip());
        let any = [a, b].iter().any(IpAddr::is_unspecified);
        let same = a == b || (any && a.is_ipv4() == b.is_ipv4());
        self.udp == other.udp && same && self.at.port() == other.at.port() && self.at.port() != 0
    }
}

/// Everything that the configuration listens on, whatever roles a node has.
pub fn listening(config: &Config) -> Vec<Listening> {
    let tcp = |key: &'static str, at: Option<SocketAddr>| at.map(|at| Listening { key, at, udp: false });
    let mut all: Vec<Listening> = tcp("ops.listen", Some(config.ops.listen)).into_iter().collect();
    all.extend(config.sip.listen.iter().map(|l| Listening {
        key: "sip.listen",
        at: l.at,
        udp: l.transport == Transport::Udp,
    }));
    all.extend(tcp("api.listen", Some(config.api.listen)));
    all.extend(config.media.ng.map(|at| Listening { key: "media.ng", at, udp: true }));
    all.extend(tcp("media.ng_tcp", config.media.ng_tcp));
    all.extend(tcp("media.http", config.media.http));
    all.extend(tcp("smsc.listen", config.smsc.listen));
    all.extend(tcp("smsc.listen_tls", config.smsc.listen_tls));
    all.extend(tcp("smsc.http", config.smsc.http));
    all
}

impl Loaded {
    /// Keys that want one address, and whose it is as well. A key that nobody set counts where every node listens on it: the others belong
    /// to roles, which the configuration does not know.
    pub(super) fn taken_twice(&self) -> Vec<(&'static str, &'static str)> {
        let set = |l: &Listening| self.origins.contains_key(l.key);
        let mut all = listening(&self.config);
        all.retain(|l| set(l) || l.key == "ops.listen");
        let pairs = all.iter().enumerate().flat_map(|(n, a)| all.iter().skip(n + 1).map(move |b| (a, b)));
        let meeting = pairs.filter(|(a, b)| a.meets(b) && (set(a) || set(b)));
        // The one that somebody wrote is told, the other one is what it meets.
        meeting.map(|(a, b)| if set(a) { (a.key, b.key) } else { (b.key, a.key) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors, sources};
    use super::*;

    #[test]
    fn two_listeners_that_want_one_address_are_a_mistake() {
        // Two that want one address: of the metrics also where nobody set theirs, of the rest where both are written.
        for (file, found) in [
            (
                "[ops]\nlisten = \"127.0.0.1:1234\"\n[api]\nlisten = \"127.0.0.1:1234\"\n",
                "warp.toml:2:1: ops.listen: another address than api.listen",
            ),
            (
                "[api]\nlisten = \"127.0.0.1:9464\"\n",
                "warp.toml:2:1: api.listen: another address than ops.listen",
            ),
            (
                "[api]\nlisten = \"127.0.0.1:1234\"\n[smsc]\nlisten = \"0.0.0.0:1234\"\n",
                "warp.toml:2:1: api.listen: another address than smsc.listen",
            ),
            (
                "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:8081\"]\n[api]\nlisten = \"127.0.0.1:8081\"\n",
                "warp.toml:2:1: sip.listen: another address than api.listen",
            ),
            (
                "[sip]\nlisten = [\"tcp:127.0.0.1:5060\", \"ws:127.0.0.1:5060\"]\n",
                "warp.toml:2:1: sip.listen: another address than sip.listen",
            ),
            (
                "[sip]\nlisten = [\"udp:127.0.0.1:2223\"]\n[media]\nng = \"127.0.0.1:2223\"\n",
                "warp.toml:2:1: sip.listen: another address than media.ng",
            ),
        ] {
            assert_eq!(errors(file), [found], "{file}");
        }
        let dir = tempfile::tempdir().unwrap();
        for file in [
            // The API is not everybody's role, an address of the other family is another one, and so is any free port.
            "[ops]\nlisten = \"127.0.0.1:8080\"\n",
            "[api]\nlisten = \"127.0.0.1:1234\"\n[ops]\nlisten = \"[::1]:1234\"\n",
            "[api]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n",
            "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"]\n[media]\nng = \"127.0.0.2:5060\"\n",
        ] {
            assert!(Loaded::load(&Config::default(), &sources(dir.path(), file)).is_ok(), "{file}");
        }
    }
}
