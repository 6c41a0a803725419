//! What a restarted proxy needs to end the calls of its dead predecessor: their dialogs and the ways to both parties. It travels in the
//! journal's `Answered` record (`CallRecord::resume`), and comes back through `warp_events::recover`.
//!
//! A crash takes the media of the one-process form with it, so those calls end: BYE both ways, and a record up to the last heartbeat
//! (PRODUCT §6).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use warp_model::VendorTrunkId;
use warp_model::json::{self, JsonText, ToJson};
use warp_model::json_object;
use warp_model::text::bytes;
use warp_sip::dialog::{Dialog, Side};
use warp_sip::flow::{Flow, Transport};
use warp_sip::message::Method;

use super::call::Call;
use super::calls::Calls;
use super::table::Owner;
use super::transactions::Transactions;

/// The form that we write. 1 knew UDP and TCP only, and had no number of its own; 1 and 2 had bytes as lists of numbers.
const VERSION: u16 = 3;
/// Numbers that a dialog may have used after its record was written: requests of more than 18 hours at one a second. RFC 3261 §12.2.2 lets
/// a number be ahead by more than one, and has a lower one refused.
const AHEAD: u32 = 1 << 16;
/// Highest CSeq (RFC 3261 §8.1.1.5).
const HIGHEST: u32 = (1 << 31) - 1;

/// A call of a dead process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resume {
    #[serde(default = "first")]
    version: u16,
    dialog: Dialog,
    caller: Hop,
    callee: Hop,
    media: bool,
    /// What the relay knows it by; empty in version 1: the Call-ID.
    #[serde(default, with = "bytes")]
    media_id: Vec<u8>,
    /// Whose challenge to our BYE is ours to answer.
    #[serde(default)]
    vendor_trunk: Option<VendorTrunkId>,
    /// In this realm, where the trunk names none: that of the INVITE's challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    realm: Option<Box<[u8]>>,
}

fn first() -> u16 {
    1
}

/// A flow without its connection, which died with the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hop {
    /// As in a Via; absent in version 1.
    #[serde(default)]
    transport: String,
    /// Version 1 only.
    #[serde(default, skip_serializing)]
    tcp: bool,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Left out always: what earlier versions wrote is only read.
fn of_old(_: &bool) -> bool {
    true
}

json_object!(Hop { transport, tcp unless(of_old), local, remote });
json_object!(Resume {
    version,
    dialog,
    caller,
    callee,
    media,
    media_id by(json::bytes),
    vendor_trunk,
    realm by(numbers) unless(Option::is_none),
});

/// As serde has bytes: a list of numbers.
fn numbers(realm: &Option<Box<[u8]>>, out: &mut Vec<u8>) {
    realm.as_deref().map(<[u8]>::to_vec).to_json(out);
}

impl Hop {
    fn of(flow: &Flow) -> Hop {
        let transport = flow.transport.token().to_owned();
        Hop { transport, tcp: false, local: flow.local, remote: flow.remote }
    }

    /// `None`: a transport that we do not know.
    fn flow(&self) -> Option<Flow> {
        let transport = match (self.transport.as_str(), self.tcp) {
            ("", true) => Transport::Tcp,
            ("", false) => Transport::Udp,
            (token, _) => Transport::from_token(token.as_bytes())?,
        };
        Some(Flow::unlinked(transport, self.local, self.remote))
    }
}

impl Resume {
    /// From `CallRecord::resume`; `None` when a later version wrote it, or nobody.
    pub fn read(json: &JsonText) -> Option<Resume> {
        serde_json::from_str(json.get()).ok().filter(|r: &Resume| r.version <= VERSION)
    }

    /// Whose shard must end it: the answers to its BYEs come there.
    pub fn call_id(&self) -> &[u8] {
        &self.dialog.call_id
    }
}

impl Calls {
    /// What to keep of a call that is being answered.
    pub(super) fn resume_of(&mut self, call: &Call, tx: &Transactions) -> Option<JsonText> {
        let resume = self.resume(call, tx)?;
        Some(JsonText::with(&resume, &mut self.written))
    }

    /// What another core needs to end it.
    pub(super) fn resume(&self, call: &Call, tx: &Transactions) -> Option<Resume> {
        let came = call.callee_flow?;
        let mut dialog = call.dialog.clone();
        // What we say to the vendor in the caller's name is counted as the vendor was told.
        dialog.caller.cseq = dialog.caller.cseq.max(call.branch().map_or(0, |b| b.uac.highest()));
        Some(Resume {
            version: VERSION,
            media_id: call.media_id.clone(),
            vendor_trunk: call.vendor_id(),
            realm: call.branch().and_then(|b| b.uac.realm()),
            dialog,
            caller: Hop::of(&self.way_to(call, Side::Caller, came, tx)?),
            callee: Hop::of(&self.way_to(call, Side::Callee, call.flow, tx)?),
            media: call.media_open,
        })
    }

    /// Ends a call of a dead process. Its record was written by recovery.
    pub(super) fn end_recovered(&mut self, resume: Resume, tx: &mut Transactions) {
        let Resume { mut dialog, caller, callee, media, media_id, vendor_trunk, realm, .. } = resume;
        if media {
            let id = if media_id.is_empty() { &dialog.call_id } else { &media_id };
            self.delete_call_media(id, tx);
        }
        for party in [&mut dialog.caller, &mut dialog.callee] {
            party.cseq = party.cseq.saturating_add(AHEAD).min(HIGHEST - 1);
        }
        for (side, hop) in [(Side::Callee, callee), (Side::Caller, caller)] {
            let dialog = &mut dialog;
            let Some(flow) = hop.flow() else { continue };
            let vendor = vendor_trunk.filter(|_| side == Side::Callee).map(|trunk| (trunk, realm.clone()));
            tx.originate(flow, Method::Bye, Owner::Ours, vendor, |via, out| {
                dialog.write_request("BYE", side, via, b"", out);
            });
        }
    }
}
