//! A customer's trunk.

use warp_model::id::{BanKind, CustomerKind};

use crate::app::input::{Ref, Text};
use crate::app::routing::PartitionKind;
use crate::store::types::{Amount, Time};

crate::noun! {
    /// Trunks of customers. Limits without `own_` are the carrier's, those with it the customer's.
    TRUNK: trunk in trunks, of customers by customer_id;
    row TrunkRow; values TrunkValues;
    given {
        id: String,
        customer_id: String,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
    of the parent {
        currency: String,
    }
    written {
        ban_id: Option<String>,
        name: String,
        status: String,
        channels: Option<i32>,
        cps: Option<i32>,
        max_rate_per_min: Option<Amount>,
        daily_spend: Option<Amount>,
        max_duration_s: Option<i32>,
        destinations: Vec<String>,
        require_valid_caller: bool,
        own_status: String,
        own_channels: Option<i32>,
        own_cps: Option<i32>,
        own_max_rate_per_min: Option<Amount>,
        own_daily_spend: Option<Amount>,
        own_max_duration_s: Option<i32>,
        /// Destinations that the customer wants; NULL = all that it may.
        own_destinations: Option<Vec<String>>,
        own_require_valid_caller: bool,
        media_ips: Vec<String>,
        strip_prefixes: Vec<String>,
        strip_required: bool,
        trust_asserted: bool,
        sell_deck_ids: Vec<String>,
        partition_id: Option<String>,
    }
    sorted {
        created_at by Id for Everybody,
        updated_at by Time for Everybody,
        customer_id by OtherId for Operators,
    }
    filtered {
        customer on customer_id as Ref<CustomerKind>, for Operators: "Only this customer (cus_…).",
        name on name as Text<1, 256>, for Everybody: "Only the trunk of this name, as it is written.",
        ban on ban_id as Ref<BanKind>, for Everybody: "Only trunks that this billing account pays for (ban_…).",
        partition on partition_id as Ref<PartitionKind>, for Operators: "Only trunks of this partition (prt_…).",
    }
}
