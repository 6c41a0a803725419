//! `/api/v1/admin`: what the carrier's staff sees and changes. Every change is in the audit log (T-API-05).

use std::sync::Arc;

use axum::http::Method;
use warp_model::CustomerId;

use super::customer::{call_endpoints, trunk_endpoints};
use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::listing::Listing;
use crate::app::paging::Cursor;
use crate::app::permission::Permission;
use crate::app::resource::Resource;
use crate::app::{audit, bans, customers, replay, routing, trunk_health, trunks, vendors};
use crate::noun::ban::BAN;

macro_rules! admin {
    ($rest:literal) => {
        concat!("/api/v1/admin", $rest)
    };
}

fn scope(name: &'static str) -> Access {
    Access::Scope(Audience::Operator, Permission::named(name))
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = customer_endpoints();
    all.extend(super::keys::endpoints(Audience::Operator));
    all.extend(super::nouns::endpoints::<bans::Bans>(Audience::Operator));
    all.extend(super::nouns::endpoints::<trunks::Trunks>(Audience::Operator));
    all.extend(trunk_endpoints(Audience::Operator));
    all.extend(vendor_endpoints());
    all.extend(super::nouns::endpoints::<vendors::VendorTrunks>(Audience::Operator));
    all.extend(super::decks::endpoints());
    all.extend(routing_endpoints());
    all.extend(call_endpoints(Audience::Operator));
    all.extend(super::ledger::endpoints(Audience::Operator));
    all.extend(super::numbers::endpoints(Audience::Operator));
    all.push(
        endpoint(
            Method::POST,
            admin!("/calls/{call_id}/replay"),
            scope("calls:read"),
            "Decide and rate a call again from its snapshot",
            call_replay,
        )
        .gives::<replay::Replay>(200),
    );
    all.push(
        endpoint(
            Method::GET,
            admin!("/vendor-trunks/{vendor_trunk_id}/health"),
            scope("vendors:read"),
            "Whether the proxy sends calls to a vendor trunk, and why not",
            vendor_trunk_health,
        )
        .gives::<trunk_health::VendorTrunkHealth>(200),
    );
    all.push(
        endpoint(
            Method::POST,
            admin!("/vendor-trunks/{vendor_trunk_id}/reset"),
            scope("vendors:reset"),
            "Put a vendor trunk that is down back into rotation",
            vendor_trunk_reset,
        )
        .gives::<trunk_health::VendorTrunkHealth>(200),
    );
    all.push(
        endpoint(Method::GET, admin!("/audit"), scope("audit:read"), "Audit log, newest first", audit_list)
            .lists::<audit::AuditEntry>()
            .by(Cursor::Number),
    );
    all
}

fn customer_endpoints() -> Vec<Endpoint> {
    let (read, write) = (scope("customers:read"), scope("customers:write"));
    vec![
        endpoint(Method::GET, admin!("/customers"), read, "Customers", customer_list)
            .lists::<customers::Customer>()
            .sorted(),
        endpoint(Method::POST, admin!("/customers"), write, "Make a customer", customer_new)
            .takes::<customers::CustomerInput>()
            .gives::<customers::Customer>(201),
        endpoint(Method::GET, admin!("/customers/{customer_id}"), read, "A customer", customer_get)
            .gives::<customers::Customer>(200),
        endpoint(
            Method::PUT,
            admin!("/customers/{customer_id}"),
            write,
            "Replace a customer",
            customer_patch,
        )
        .takes::<customers::CustomerInput>()
        .gives::<customers::Customer>(200),
        endpoint(
            Method::PATCH,
            admin!("/customers/{customer_id}"),
            write,
            "Change a customer",
            customer_patch,
        )
        .patches::<customers::CustomerInput>()
        .gives::<customers::Customer>(200),
        endpoint(Method::GET, admin!("/customers/{customer_id}/bans"), read, "Billing accounts", ban_list)
            .lists::<bans::Ban>(),
    ]
}

fn vendor_endpoints() -> Vec<Endpoint> {
    let (read, write) = (scope("vendors:read"), scope("vendors:write"));
    vec![
        endpoint(Method::GET, admin!("/vendors"), read, "Vendors", vendor_list)
            .lists::<vendors::Vendor>()
            .sorted(),
        endpoint(Method::POST, admin!("/vendors"), write, "Make a vendor", vendor_new)
            .takes::<vendors::VendorInput>()
            .gives::<vendors::Vendor>(201),
        endpoint(Method::GET, admin!("/vendors/{vendor_id}"), read, "A vendor", vendor_get)
            .gives::<vendors::Vendor>(200),
        endpoint(Method::PUT, admin!("/vendors/{vendor_id}"), write, "Replace a vendor", vendor_patch)
            .takes::<vendors::VendorInput>()
            .gives::<vendors::Vendor>(200),
        endpoint(Method::PATCH, admin!("/vendors/{vendor_id}"), write, "Change a vendor", vendor_patch)
            .patches::<vendors::VendorInput>()
            .gives::<vendors::Vendor>(200),
        endpoint(
            Method::DELETE,
            admin!("/vendors/{vendor_id}"),
            write,
            "Delete an unused vendor",
            vendor_delete,
        ),
        endpoint(Method::GET, admin!("/emergency-route"), read, "Where emergency calls go", emergency_get)
            .gives::<vendors::EmergencyRoute>(200),
        endpoint(
            Method::PUT,
            admin!("/emergency-route"),
            write,
            "Set where emergency calls go",
            emergency_put,
        )
        .takes::<vendors::EmergencyRouteInput>()
        .gives::<vendors::EmergencyRoute>(200),
    ]
}

fn routing_endpoints() -> Vec<Endpoint> {
    let (read, write) = (scope("routing:read"), scope("routing:write"));
    vec![
        endpoint(Method::GET, admin!("/partitions"), read, "Partitions", partition_list)
            .lists::<routing::Partition>(),
        endpoint(Method::POST, admin!("/partitions"), write, "Make a partition", partition_new)
            .takes::<routing::PartitionInput>()
            .gives::<routing::Partition>(201),
        endpoint(Method::GET, admin!("/partitions/{partition_id}"), read, "A partition", partition_get)
            .gives::<routing::Partition>(200),
        endpoint(
            Method::PUT,
            admin!("/partitions/{partition_id}"),
            write,
            "Replace a partition",
            partition_patch,
        )
        .takes::<routing::PartitionInput>()
        .gives::<routing::Partition>(200),
        endpoint(
            Method::PATCH,
            admin!("/partitions/{partition_id}"),
            write,
            "Change a partition",
            partition_patch,
        )
        .patches::<routing::PartitionInput>()
        .gives::<routing::Partition>(200),
        endpoint(
            Method::DELETE,
            admin!("/partitions/{partition_id}"),
            write,
            "Delete an unused partition",
            partition_delete,
        ),
        endpoint(Method::GET, admin!("/exclusions"), read, "Vendors not to be used", exclusion_list)
            .lists::<routing::Exclusion>(),
        endpoint(Method::POST, admin!("/exclusions"), write, "Exclude a vendor for a time", exclusion_new)
            .takes::<routing::ExclusionInput>()
            .gives::<routing::Exclusion>(201),
        endpoint(Method::GET, admin!("/exclusions/{exclusion_id}"), read, "An exclusion", exclusion_get)
            .gives::<routing::Exclusion>(200),
        endpoint(
            Method::DELETE,
            admin!("/exclusions/{exclusion_id}"),
            write,
            "End an exclusion",
            exclusion_delete,
        ),
    ]
}

async fn call_replay(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&replay::replay(&r.ctx(&app)?, r.id("call_id", "call")?).await?)
}

async fn vendor_trunk_health(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("vendor_trunk_id", "vendor trunk")?;
    Reply::ok(&trunk_health::get(&r.ctx(&app)?, id).await?)
}

async fn vendor_trunk_reset(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("vendor_trunk_id", "vendor trunk")?;
    Reply::ok(&trunk_health::reset(&r.ctx(&app)?, id).await?)
}

async fn audit_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(audit::list(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn customer_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(customers::list(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn customer_new(app: Arc<App>, r: Request) -> Answer {
    let made = customers::create(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn customer_get(app: Arc<App>, r: Request) -> Answer {
    let customer = customers::get(&r.ctx(&app)?, r.id("customer_id", "customer")?).await?;
    Reply::ok(&customer)
}

async fn customer_patch(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let customer =
        customers::update(&ctx, r.id("customer_id", "customer")?, r.change(&r.json()?), &r.expected).await?;
    Reply::ok(&customer)
}

async fn ban_list(app: Arc<App>, r: Request) -> Answer {
    let (ctx, customer): (_, CustomerId) = (r.ctx(&app)?, r.id("customer_id", "customer")?);
    customers::get(&ctx, customer).await?;
    let listing = Listing::all(&BAN, &r.paging()?).only(&BAN, "customer", customer.to_string())?;
    Reply::page(bans::Bans::list(&ctx, &listing).await?)
}

async fn vendor_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(vendors::list(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn vendor_new(app: Arc<App>, r: Request) -> Answer {
    let made = vendors::create(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn vendor_get(app: Arc<App>, r: Request) -> Answer {
    let vendor = vendors::get(&r.ctx(&app)?, r.id("vendor_id", "vendor")?).await?;
    Reply::ok(&vendor)
}

async fn vendor_patch(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let vendor =
        vendors::update(&ctx, r.id("vendor_id", "vendor")?, r.change(&r.json()?), &r.expected).await?;
    Reply::ok(&vendor)
}

async fn vendor_delete(app: Arc<App>, r: Request) -> Answer {
    vendors::delete(&r.ctx(&app)?, r.id("vendor_id", "vendor")?, &r.expected).await?;
    Reply::done()
}

async fn emergency_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&vendors::emergency_route(&r.ctx(&app)?).await?)
}

async fn emergency_put(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&vendors::set_emergency_route(&r.ctx(&app)?, r.input()?).await?)
}

async fn partition_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(routing::list(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn partition_new(app: Arc<App>, r: Request) -> Answer {
    let made = routing::create(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn partition_get(app: Arc<App>, r: Request) -> Answer {
    let partition = routing::get(&r.ctx(&app)?, r.id("partition_id", "partition")?).await?;
    Reply::ok(&partition)
}

async fn partition_patch(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let partition =
        routing::update(&ctx, r.id("partition_id", "partition")?, r.change(&r.json()?), &r.expected).await?;
    Reply::ok(&partition)
}

async fn partition_delete(app: Arc<App>, r: Request) -> Answer {
    routing::delete(&r.ctx(&app)?, r.id("partition_id", "partition")?, &r.expected).await?;
    Reply::done()
}

async fn exclusion_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(routing::list_exclusions(&r.ctx(&app)?, &r.paging()?).await?)
}

async fn exclusion_new(app: Arc<App>, r: Request) -> Answer {
    let made = routing::create_exclusion(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn exclusion_get(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("exclusion_id", "exclusion")?;
    Reply::ok(&routing::get_exclusion(&r.ctx(&app)?, id).await?)
}

async fn exclusion_delete(app: Arc<App>, r: Request) -> Answer {
    routing::delete_exclusion(&r.ctx(&app)?, r.id("exclusion_id", "exclusion")?).await?;
    Reply::done()
}
