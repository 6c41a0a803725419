//! Who is calling: a trunk by its address, or by digest (T-SIP-08, T-SIP-09). Nothing is known of a caller until then, and nothing kept.

use warp_policy::{Directory, TrunkIx, VendorTrunkIx, inbound};
use warp_sip::digest::{Algorithm, Ha1};
use warp_sip::flow::Flow;
use warp_sip::message::Message;
use warp_sip::uri::Uri;

use super::calls::Calls;
use super::sign_in::Gate;
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
        let secret = |user: &str, algorithm| secret_in(directory, user, algorithm);
        let Some(user) = tx.sign_in(flow, msg, Gate::Proxy, stranger, secret) else {
            return Ingress::Answered;
        };
        match directory.digest_user(&user) {
            Some((trunk, _)) => Ingress::Trunk(trunk, Some(user)),
            None => Ingress::Answered,
        }
    }
}

/// The secret of a digest user of a trunk.
pub(super) fn secret_in(directory: &Directory, user: &str, algorithm: Algorithm) -> Option<Ha1> {
    let (_, held) = directory.digest_user(user)?;
    let text = match algorithm {
        Algorithm::Md5 => held.md5.as_ref(),
        Algorithm::Sha256 => held.sha256.as_ref(),
    };
    Ha1::from_hex(text?.reveal().as_bytes())
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
