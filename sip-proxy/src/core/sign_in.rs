//! Signing in by digest (T-SIP-08, T-SIP-09), for whoever owns the accounts: the trunks of the policy, or the users of the registrar.

use warp_sip::digest::{self, Algorithm, Ha1, NonceState};
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::Message;

use super::transactions::Transactions;

/// In which role we ask: it names the status and the headers (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// As a proxy: 407.
    Proxy,
    /// As the server itself (registrar): 401.
    Server,
}

impl Gate {
    fn words(self) -> (u16, &'static str, Header) {
        match self {
            Gate::Proxy => (407, "Proxy-Authenticate", Header::ProxyAuthorization),
            Gate::Server => (401, "WWW-Authenticate", Header::Authorization),
        }
    }
}

impl Transactions {
    /// The user who signed this request; `None`: answered, by a challenge or a refusal, or dropped. `secret` is asked for the account of
    /// a name.
    pub(super) fn sign_in(
        &mut self,
        flow: &Flow,
        msg: &Message<'_>,
        gate: Gate,
        stranger: bool,
        secret: impl FnOnce(&str, Algorithm) -> Option<Ha1>,
    ) -> Option<String> {
        let ip = flow.remote.ip();
        let config = self.config.clone();
        let realm = config.realm.name.as_bytes();
        let Some(c) = digest::credentials(msg, gate.words().2, realm) else {
            self.challenge(flow, msg, gate, false, stranger);
            return None;
        };
        let nonce = self.shared.nonces.check(c.nonce, self.now.wall, realm, ip);
        let NonceState::Fresh(nonce) = nonce else {
            self.challenge(flow, msg, gate, nonce == NonceState::Stale, stranger);
            return None;
        };
        let user = std::str::from_utf8(c.username).unwrap_or("");
        let allowed = match c.algorithm {
            Algorithm::Md5 => config.realm.md5,
            Algorithm::Sha256 => config.realm.sha256,
        };
        // An unknown user costs the same time as a wrong password, and gets the same answer (T-SIP-08).
        let ha1 = secret(user, c.algorithm);
        let known = ha1.is_some() && allowed;
        let ha1 = ha1.unwrap_or_else(|| Ha1::decoy(c.algorithm));
        // Guessing from many sources at one account: only sources that have signed in lately are still believed.
        let account = self.shared.keyed.hash64(&[b"account", c.username]);
        let besieged = self.shared.account_failures.is_silenced(&account, self.now.mono)
            && !self.shared.learnt.knows(ip, self.now.mono);
        if !(digest::verify(&c, msg.method_text(), &ha1) && known && !besieged) {
            // Told apart for us alone: the peer gets the same answer.
            match known {
                true => self.stats.auth_bad_credentials += 1,
                false => self.stats.auth_unknown += 1,
            }
            self.shared.failures.failed(ip, self.now.mono);
            self.shared.account_failures.failed(account, self.now.mono);
            self.refuse(flow, msg, 403, "", &[], stranger);
            return None;
        }
        if !self.shared.accept_nonce(nonce, c.count(), self.now.mono) {
            self.challenge(flow, msg, gate, true, stranger);
            return None;
        }
        self.stats.auth_ok += 1;
        self.shared.learnt.learn(ip, self.now.mono);
        Some(user.to_owned())
    }

    fn challenge(&mut self, flow: &Flow, msg: &Message<'_>, gate: Gate, stale: bool, stranger: bool) {
        match stale {
            true => self.stats.auth_stale += 1,
            false => self.stats.auth_challenge += 1,
        }
        let random = self.rng.u64();
        let (shared, config) = (self.shared.clone(), self.config.clone());
        let realm = config.realm.name.as_bytes();
        let nonce = shared.nonces.issue(self.now.wall, random, realm, flow.remote.ip());
        // SHA-256 first: a client takes the first that it knows (RFC 8760 §2.4).
        let offers = [(config.realm.sha256, Algorithm::Sha256), (config.realm.md5, Algorithm::Md5)];
        let values: Vec<Vec<u8>> = offers
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, algorithm)| {
                let mut out = Vec::with_capacity(200);
                digest::challenge(realm, &nonce, *algorithm, stale, &mut out);
                out
            })
            .collect();
        let (status, name, _) = gate.words();
        let headers: Vec<(&str, &[u8])> = values.iter().map(|v| (name, &v[..])).collect();
        // A short request has no room for two challenges in what a stranger may be sent: then the one that every client knows.
        let last = headers.len().saturating_sub(1);
        if !self.refuse(flow, msg, status, "", &headers, stranger) && last > 0 {
            self.refuse(flow, msg, status, "", &headers[last..], stranger);
        }
    }
}
