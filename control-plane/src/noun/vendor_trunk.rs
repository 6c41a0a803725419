//! A vendor's trunk.

use serde_json::{Value, json};
use warp_model::id::VendorKind;

use crate::app::caller::Audience;
use crate::app::input::{Ref, Text};
use crate::store::types::{Sealed, Time};

crate::noun! {
    /// Trunks of vendors, where calls go out.
    VENDOR_TRUNK: vendor_trunk in vendor_trunks, of vendors by vendor_id;
    for Operators, called "vendor trunk", at "vendor-trunks", below its parent "trunks", scopes of "vendors";
    row VendorTrunkRow; values VendorTrunkValues;
    verbs {
        List "Vendor trunks";
        Create "Make a vendor trunk";
        Read "A vendor trunk";
        Change "Change a vendor trunk";
        Replace "Replace a vendor trunk";
        Delete "Delete a vendor trunk";
    }
    examples made, changed, seen;
    given {
        id: String,
        vendor_id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        name: String,
        status: String,
        transport: String,
        hosts: Vec<String>,
        addresses: Vec<String>,
        channels: Option<i32>,
        cps: Option<i32>,
        tech_prefix: String,
        number_format: String,
        media_ips: Vec<String>,
        signalling_ips: Vec<String>,
        follow_redirects: bool,
        allow_refer: bool,
        identity_trusted: bool,
        identity_form: String,
        caller_format: String,
        diversion_form: String,
        reason_form: String,
        header_rules: Vec<String>,
        codecs: Vec<String>,
        session_expires_s: Option<i32>,
        session_min_s: Option<i32>,
        recording: bool,
        priority: i32,
        weight: i32,
        auth_username: Option<String>,
        auth_secret: Sealed as Secret (auth_password),
        auth_realm: Option<String>,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
        vendor_id by OtherId for Operators,
    }
    filtered {
        vendor on vendor_id as Ref<VendorKind>, for Operators: "Only this vendor (vnd_…).",
        name on name as Text<1, 256>, for Operators: "Only vendor trunks of this name, as it is written.",
    }
    listed { vendor_id, name, status, addresses, hosts, transport, priority }
}

fn made() -> Value {
    json!({
        "name": "east-1",
        "addresses": ["192.0.2.20:5060", "192.0.2.21:5060"],
        "channels": 200,
        "number_format": "e164",
        "auth_username": "warp-east",
        "auth_password": "a long password of theirs"
    })
}

fn changed() -> Value {
    json!({ "channels": null, "priority": 1 })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "vtk_06f7jv8c1gdyzv3n1v8d5h2k4m",
        "vendor_id": "vnd_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "name": "east-1",
        "status": "active",
        "transport": "udp",
        "hosts": [],
        "addresses": ["192.0.2.20:5060", "192.0.2.21:5060"],
        "channels": 200,
        "cps": null,
        "tech_prefix": "",
        "number_format": "e164",
        "media_ips": [],
        "signalling_ips": [],
        "follow_redirects": false,
        "allow_refer": false,
        "identity_trusted": true,
        "identity_form": "as_received",
        "caller_format": "as_received",
        "diversion_form": "as_received",
        "reason_form": "as_received",
        "header_rules": [],
        "codecs": [],
        "session_expires_s": null,
        "session_min_s": null,
        "recording": false,
        "priority": 0,
        "weight": 1,
        "auth_username": "warp-east",
        "auth_realm": null,
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
