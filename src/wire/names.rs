//! Names for the ids that stand in labels: `warp_trunk_info{trunk,name,owner}` and its like, each always 1.
//!
//! Counters carry ids only, because a name may change and a series would break with it. A graph joins the name:
//! `warp_sip_active_calls * on(trunk) group_left(name) warp_trunk_info`. What is shown is the published snapshot, so that a
//! name is new within a second; after [`MOST`] of a kind the rest have none.

use warp_feed::Subscriber;
use warp_policy::{Directory, Snapshot};
use warp_telemetry::Registry;
use warp_telemetry::metrics::{Kind, Sample};

/// Named things of a kind.
const MOST: usize = 2_000;

type Labels = Vec<(&'static str, String)>;

/// Registers the series.
pub(super) fn show(registry: &Registry, snapshots: Subscriber<Snapshot>) {
    let add = |name, help, labels: &'static [&'static str], rows: fn(&Directory) -> Vec<Labels>| {
        let snapshots = snapshots.clone();
        registry.observe(Kind::Gauge, name, help, labels, move || {
            let rows = rows(&snapshots.latest().directory);
            rows.into_iter().map(|labels| Sample::number(labels, 1.0)).collect()
        });
    };
    add(
        "warp_trunk_info",
        "Always 1; the name of each trunk is in a label, and whose it is: a customer's (trk_) or a vendor's (vtk_).",
        &["trunk", "name", "owner"],
        trunks,
    );
    add(
        "warp_customer_info",
        "Always 1; the name of each customer is in a label.",
        &["customer", "name"],
        customers,
    );
    add("warp_vendor_info", "Always 1; the name of each vendor is in a label.", &["vendor", "name"], vendors);
}

fn trunks(directory: &Directory) -> Vec<Labels> {
    let row = |id: String, name: &str, owner: Option<&str>| {
        vec![("trunk", id), ("name", name.to_owned()), ("owner", owner.unwrap_or("").to_owned())]
    };
    let customers = directory.trunks().take(MOST).map(|(ix, trunk)| {
        let owner = directory.customer_of(ix).and_then(|ix| directory.customer(ix));
        row(trunk.id.to_string(), &trunk.name, owner.map(|c| c.name.as_str()))
    });
    let vendors = directory.vendor_trunks().take(MOST).map(|(ix, trunk)| {
        let owner = directory.vendor_of(ix).and_then(|ix| directory.vendor(ix));
        row(trunk.id.to_string(), &trunk.name, owner.map(|v| v.name.as_str()))
    });
    customers.chain(vendors).collect()
}

fn customers(directory: &Directory) -> Vec<Labels> {
    let row = |id: String, name: &str| vec![("customer", id), ("name", name.to_owned())];
    directory.customers().take(MOST).map(|(_, c)| row(c.id.to_string(), &c.name)).collect()
}

fn vendors(directory: &Directory) -> Vec<Labels> {
    let row = |id: String, name: &str| vec![("vendor", id), ("name", name.to_owned())];
    directory.vendors().take(MOST).map(|(_, v)| row(v.id.to_string(), &v.name)).collect()
}
