//! What a restarted proxy needs to end the calls of its dead predecessor: their dialogs and the ways to both parties. It travels in the
//! journal's `Answered` record (`CallRecord::resume`), and comes back through `warp_events::recover`.
//!
//! A crash takes the media of the one-process form with it, so those calls end: BYE both ways, and a record up to the last heartbeat
//! (PRODUCT §6).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use warp_sip::dialog::{Dialog, Side};
use warp_sip::flow::{Flow, Transport};
use warp_sip::message::Method;

use super::call::Call;
use super::calls::Calls;
use super::table::Owner;
use super::transactions::Transactions;

/// A call of a dead process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resume {
    dialog: Dialog,
    caller: Hop,
    callee: Hop,
    media: bool,
}

/// A flow without its connection, which died with the process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Hop {
    tcp: bool,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Hop {
    fn of(flow: &Flow) -> Hop {
        Hop { tcp: flow.transport.is_reliable(), local: flow.local, remote: flow.remote }
    }

    fn flow(&self) -> Flow {
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        Flow::unlinked(transport, self.local, self.remote)
    }
}

impl Resume {
    /// From `CallRecord::resume`; `None` when another version wrote it.
    pub fn read(json: &RawValue) -> Option<Resume> {
        serde_json::from_str(json.get()).ok()
    }

    /// Whose shard must end it: the answers to its BYEs come there.
    pub fn call_id(&self) -> &[u8] {
        &self.dialog.call_id
    }
}

impl Calls {
    /// What to keep of a call that is being answered.
    pub(super) fn resume_of(&self, call: &Call, tx: &Transactions) -> Option<Box<RawValue>> {
        serde_json::value::to_raw_value(&self.resume(call, tx)?).ok()
    }

    /// What another core needs to end it.
    pub(super) fn resume(&self, call: &Call, tx: &Transactions) -> Option<Resume> {
        let came = call.callee_flow?;
        Some(Resume {
            dialog: call.dialog.clone(),
            caller: Hop::of(&self.way_to(call, Side::Caller, came, tx)?),
            callee: Hop::of(&self.way_to(call, Side::Callee, call.flow, tx)?),
            media: call.media_open,
        })
    }

    /// Ends a call of a dead process. Its record was written by recovery.
    pub(super) fn end_recovered(&mut self, resume: Resume, tx: &mut Transactions) {
        let Resume { mut dialog, caller, callee, media } = resume;
        if media {
            self.delete_call_media(&dialog.call_id, tx);
        }
        for (side, hop) in [(Side::Callee, callee), (Side::Caller, caller)] {
            let dialog = &mut dialog;
            tx.originate(hop.flow(), Method::Bye, Owner::Ours, |via, out| {
                dialog.write_request("BYE", side, via, b"", out);
            });
        }
    }
}
