//! A vendor: a carrier that we buy from.

use serde_json::{Value, json};

use crate::app::caller::Audience;
use crate::app::customers::Status;
use crate::app::input::{Slug, Text};
use crate::store::types::Time;

crate::noun! {
    /// Vendors. Where calls go out to them are their vendor trunks.
    VENDOR: vendor in vendors;
    for Operators, called "vendor", at "vendors", scopes of "vendors";
    row VendorRow; values VendorValues;
    verbs {
        List "Vendors";
        Create "Make a vendor";
        Read "A vendor";
        Change "Change a vendor";
        Replace "Replace a vendor";
        Delete "Delete an unused vendor";
    }
    examples made, changed, seen;
    given {
        id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {}
    written {
        slug: String,
        name: String,
        status: String,
        buy_deck_ids: Vec<String>,
        /// State of the point of interconnection.
        interconnection: Option<String>,
        rounding_mode: String,
        rounding_places: i32,
        partial_second: String,
        rounding_level: String,
    }
    sorted {
        created_at by Id for Operators,
        updated_at by Time for Operators,
        name by Text for Operators,
    }
    filtered {
        slug on slug as Slug, for Operators: "Only the vendor of this short name.",
        name on name as Text<1, 256>, for Operators: "Only vendors of this name, as it is written.",
        status on status as Status, for Operators: "Only vendors of this status.",
    }
    listed { slug, name, status, buy_deck_ids }
}

fn made() -> Value {
    json!({ "slug": "east", "name": "Eastern Carrier", "interconnection": "NY", "rounding_places": 4 })
}

fn changed() -> Value {
    json!({ "status": "suspended", "interconnection": null })
}

fn seen(_: Audience) -> Value {
    json!({
        "id": "vnd_06f7jv8bxm3e7s0q9tk4w1n2pr",
        "slug": "east",
        "name": "Eastern Carrier",
        "status": "active",
        "buy_deck_ids": [],
        "interconnection": "NY",
        "rounding_mode": "half_away_from_zero",
        "rounding_places": 4,
        "partial_second": "up",
        "rounding_level": "call",
        "created_at": "2026-11-30T12:00:00.000Z",
        "updated_at": "2026-11-30T12:00:00.000Z",
        "version": 1
    })
}
