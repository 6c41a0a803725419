//! `/api/v1/admin`: what the carrier's staff sees and changes. Every change is in the audit log (T-API-05).

use std::sync::Arc;

use axum::http::Method;
use warp_model::CustomerId;

use super::customer::{call_endpoints, trunk_endpoints};
use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::nouns;
use crate::App;
use crate::app::listing::Listing;
use crate::app::permission::Permission;
use crate::app::schedules::Schedules;
use crate::app::{
    bans, customers, exchange_rates, messaging, opt_outs, resource, routing, rules, trunk_health, trunks,
    vendor_trunks, vendors,
};
use crate::billing::replay;
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
    let mut all = nouns::endpoints::<customers::Customers>(Audience::Operator);
    all.extend(customer_endpoints());
    all.extend(super::keys::endpoints(Audience::Operator));
    all.extend(super::users::endpoints(Audience::Operator));
    all.extend(nouns::endpoints::<bans::Bans>(Audience::Operator));
    all.extend(nouns::endpoints::<trunks::Trunks>(Audience::Operator));
    all.extend(trunk_endpoints(Audience::Operator));
    all.extend(nouns::endpoints::<vendors::Vendors>(Audience::Operator));
    all.extend(vendor_endpoints());
    all.extend(nouns::endpoints::<vendor_trunks::VendorTrunks>(Audience::Operator));
    all.extend(super::decks::endpoints());
    all.extend(nouns::endpoints::<routing::Partitions>(Audience::Operator));
    all.extend(nouns::endpoints::<routing::Exclusions>(Audience::Operator));
    all.extend(nouns::endpoints::<rules::Overrides>(Audience::Operator));
    all.extend(nouns::endpoints::<rules::Blocks>(Audience::Operator));
    all.extend(nouns::endpoints::<exchange_rates::ExchangeRates>(Audience::Operator));
    all.extend(call_endpoints(Audience::Operator));
    all.extend(super::live::endpoints(Audience::Operator));
    all.extend(super::ledger::endpoints(Audience::Operator));
    all.extend(super::events::endpoints(Audience::Operator));
    all.extend(super::webhooks::endpoints(Audience::Operator));
    all.extend(super::jobs::endpoints(Audience::Operator));
    all.extend(super::nouns::endpoints::<Schedules>(Audience::Operator));
    all.extend(super::numbers::endpoints(Audience::Operator));
    all.extend(nouns::endpoints::<messaging::SmppAccounts>(Audience::Operator));
    all.extend(nouns::endpoints::<opt_outs::OptOuts>(Audience::Operator));
    all.extend(nouns::endpoints::<messaging::VendorBinds>(Audience::Operator));
    all.extend(nouns::endpoints::<messaging::MessageRoutes>(Audience::Operator));
    all.extend(nouns::endpoints::<messaging::MessagePrices>(Audience::Operator));
    all.extend(super::messages::endpoints(Audience::Operator));
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
    all.push(super::customer::audit_endpoint(Audience::Operator));
    all
}

fn customer_endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(
            Method::GET,
            admin!("/customers/{customer_id}/bans"),
            scope("customers:read"),
            "Billing accounts",
            ban_list,
        )
        .lists::<bans::Ban>(),
    ]
}

fn vendor_endpoints() -> Vec<Endpoint> {
    let (read, write) = (scope("vendors:read"), scope("vendors:write"));
    vec![
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

async fn ban_list(app: Arc<App>, r: Request) -> Answer {
    let (ctx, customer): (_, CustomerId) = (r.ctx(&app)?, r.id("customer_id", "customer")?);
    resource::get::<customers::Customers>(&ctx, customer).await?;
    let listing = Listing::all(&BAN, &r.paging()?).only(&BAN, "customer", customer.to_string())?;
    Reply::page(resource::list::<bans::Bans>(&ctx, &listing).await?)
}

async fn emergency_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&vendors::emergency_route(&r.ctx(&app)?).await?)
}

async fn emergency_put(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&vendors::set_emergency_route(&r.ctx(&app)?, r.input()?).await?)
}
