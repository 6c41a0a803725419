//! Who is calling: a trunk by its address, or by digest (T-SIP-08, T-SIP-09). Nothing is known of a caller until then, and nothing kept.

use warp_policy::{TrunkIx, VendorTrunkIx, inbound};
use warp_sip::digest::{self, Algorithm, Ha1, NonceState};
use warp_sip::flow::Flow;
use warp_sip::header::Header;
use warp_sip::message::Message;
use warp_sip::uri::Uri;

use super::calls::Calls;
use super::transactions::Transactions;

/// What came of it.
pub(super) enum Ingress {
    /// A trunk, and the user it signed in as.
    Trunk(TrunkIx, Option<String>),
    /// A vendor's trunk, whose calls are for our numbers.
    Vendor(VendorTrunkIx),
    /// Answered: a challenge, or a refusal; or silence.
    Answered,
}

impl Calls {
    /// Finds the trunk of a first INVITE, or answers it.
    pub(super) fn authenticate(
        &mut self,
        flow: &Flow,
        msg: &Message<'_>,
        stranger: bool,
        tx: &mut Transactions,
    ) -> Ingress {
        let ip = flow.remote.ip();
        let Some(snapshot) = tx.snapshot.clone() else {
            tx.refuse(flow, msg, 503, "", &[("Retry-After", b"5")], stranger);
            return Ingress::Answered;
        };
        let directory = &snapshot.directory;
        match (directory.inbound_trunk(ip), directory.trunk_by_ip(ip)) {
            // A vendor that is a customer too (issue 7): our number, else its technical prefix, else nothing of it is carried.
            (Some(vendor), Some(trunk)) => {
                let called = called_of(msg);
                return match inbound::is_customers(&snapshot, trunk, &called) {
                    true => Ingress::Trunk(trunk, None),
                    false => Ingress::Vendor(vendor),
                };
            }
            (Some(vendor), None) => return Ingress::Vendor(vendor),
            (None, Some(trunk)) => return Ingress::Trunk(trunk, None),
            (None, None) => {}
        }
        let realm = tx.config.realm.name.clone();
        let Some(c) = digest::credentials(msg, Header::ProxyAuthorization, realm.as_bytes()) else {
            self.challenge(flow, msg, false, stranger, tx);
            return Ingress::Answered;
        };
        let nonce = tx.shared.nonces.check(c.nonce, tx.now.wall, realm.as_bytes(), ip);
        let NonceState::Fresh(nonce) = nonce else {
            self.challenge(flow, msg, nonce == NonceState::Stale, stranger, tx);
            return Ingress::Answered;
        };
        let user = std::str::from_utf8(c.username).unwrap_or("");
        let found = directory.digest_user(user);
        let allowed = match c.algorithm {
            Algorithm::Md5 => tx.config.realm.md5,
            Algorithm::Sha256 => tx.config.realm.sha256,
        };
        // An unknown user costs the same time as a wrong password, and gets the same answer (T-SIP-08).
        let ha1 = found
            .and_then(|(_, h)| match c.algorithm {
                Algorithm::Md5 => h.md5.as_ref(),
                Algorithm::Sha256 => h.sha256.as_ref(),
            })
            .and_then(|text| Ha1::from_hex(text.reveal().as_bytes()));
        let known = ha1.is_some() && allowed;
        let ha1 = ha1.unwrap_or_else(|| Ha1::decoy(c.algorithm));
        // Guessing from many sources at one account: only sources that have signed in lately are still believed.
        let account = tx.shared.keyed.hash64(&[b"account", c.username]);
        let besieged = tx.shared.account_failures.is_silenced(&account, tx.now.mono)
            && !tx.shared.learnt.knows(ip, tx.now.mono);
        let right = digest::verify(&c, msg.method_text(), &ha1) && known && !besieged;
        if !right {
            // Told apart for us alone: the peer gets the same answer.
            match known {
                true => tx.stats.auth_bad_credentials += 1,
                false => tx.stats.auth_unknown += 1,
            }
            tx.shared.failures.failed(ip, tx.now.mono);
            tx.shared.account_failures.failed(account, tx.now.mono);
            tx.refuse(flow, msg, 403, "", &[], stranger);
            return Ingress::Answered;
        }
        if !tx.shared.accept_nonce(nonce, c.count(), tx.now.mono) {
            self.challenge(flow, msg, true, stranger, tx);
            return Ingress::Answered;
        }
        tx.stats.auth_ok += 1;
        tx.shared.learnt.learn(ip, tx.now.mono);
        match found {
            Some((trunk, _)) => Ingress::Trunk(trunk, Some(user.to_owned())),
            None => Ingress::Answered,
        }
    }

    fn challenge(
        &mut self,
        flow: &Flow,
        msg: &Message<'_>,
        stale: bool,
        stranger: bool,
        tx: &mut Transactions,
    ) {
        match stale {
            true => tx.stats.auth_stale += 1,
            false => tx.stats.auth_challenge += 1,
        }
        let random = tx.rng.u64();
        let (shared, config) = (tx.shared.clone(), tx.config.clone());
        let realm = config.realm.name.as_bytes();
        let nonce = shared.nonces.issue(tx.now.wall, random, realm, flow.remote.ip());
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
        let headers: Vec<(&str, &[u8])> = values.iter().map(|v| ("Proxy-Authenticate", &v[..])).collect();
        // A short INVITE has no room for two challenges in what a stranger may be sent: then the one that every client knows.
        let last = headers.len().saturating_sub(1);
        if !tx.refuse(flow, msg, 407, "", &headers, stranger) && last > 0 {
            tx.refuse(flow, msg, 407, "", &headers[last..], stranger);
        }
    }
}

/// The user part of the Request-URI; of the emergency URN (RFC 5031) the code that it stands for.
fn called_of(msg: &Message<'_>) -> Vec<u8> {
    let mut digits = [0; 256];
    match msg.request_uri().map(Uri::parse) {
        Some(Ok(uri)) if uri.is_emergency_service() => b"911".to_vec(),
        Some(Ok(uri)) => uri.user_unescaped(&mut digits).map(<[u8]>::to_vec).unwrap_or_default(),
        _ => Vec::new(),
    }
}
