//! `/api/v1`: what a customer sees and changes. The tenant comes from the key; there is no way to name another one.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::fault::Fault;
use crate::app::input::{Field, Net};
use crate::app::paging::Cursor;
use crate::app::permission::Permission;
use crate::app::schedules::Schedules;
use crate::app::{audit, bans, calls, customers, messaging, opt_outs, resource, route_test, trunks};

fn scope(name: &'static str) -> Access {
    Access::Scope(Audience::Customer, Permission::named(name))
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = vec![
        endpoint(Method::GET, "/api/v1/customer", scope("customers:read"), "The customer of this key", me)
            .gives::<customers::Customer>(200),
    ];
    all.extend(super::nouns::endpoints::<bans::Bans>(Audience::Customer));
    all.extend(super::keys::endpoints(Audience::Customer));
    all.extend(super::users::endpoints(Audience::Customer));
    all.extend(super::nouns::endpoints::<trunks::Trunks>(Audience::Customer));
    all.extend(trunk_endpoints(Audience::Customer));
    all.extend(call_endpoints(Audience::Customer));
    all.extend(super::live::endpoints(Audience::Customer));
    all.extend(super::ledger::endpoints(Audience::Customer));
    all.extend(super::events::endpoints(Audience::Customer));
    all.extend(super::webhooks::endpoints(Audience::Customer));
    all.extend(super::jobs::endpoints(Audience::Customer));
    all.extend(super::nouns::endpoints::<Schedules>(Audience::Customer));
    all.push(audit_endpoint(Audience::Customer));
    all.extend(super::numbers::endpoints(Audience::Customer));
    all.extend(super::nouns::endpoints::<messaging::SmppAccounts>(Audience::Customer));
    all.extend(super::nouns::endpoints::<opt_outs::OptOuts>(Audience::Customer));
    all.extend(super::messages::endpoints(Audience::Customer));
    all
}

/// Endpoints of what belongs to one trunk: the same for both audiences, row-level security makes the difference.
pub(super) fn trunk_endpoints(audience: Audience) -> Vec<Endpoint> {
    macro_rules! at {
        ($rest:literal) => {
            match audience {
                Audience::Customer => concat!("/api/v1/trunks/{trunk_id}", $rest),
                Audience::Operator => concat!("/api/v1/admin/trunks/{trunk_id}", $rest),
            }
        };
    }
    let read = Access::Scope(audience, Permission::TrunksRead);
    let write = Access::Scope(audience, Permission::TrunksWrite);
    vec![
        endpoint(Method::GET, at!("/ips"), read, "Addresses of a trunk", ip_list)
            .lists::<trunks::TrunkIp>()
            .by(Cursor::Address)
            .query("address", Net::field_schema, "Only this address or network."),
        endpoint(Method::POST, at!("/ips"), write, "Add an address or network", ip_add)
            .takes::<trunks::TrunkIpInput>()
            .gives::<trunks::TrunkIp>(201),
        endpoint(Method::DELETE, at!("/ips"), write, "Remove an address or network", ip_remove).needs(
            "address",
            Net::field_schema,
            "The address or network, in any writing.",
        ),
        endpoint(Method::GET, at!("/credentials"), read, "Digest users of a trunk", credential_list)
            .lists::<trunks::Credential>()
            .by(Cursor::User),
        endpoint(Method::POST, at!("/credentials"), write, "Add a digest user", credential_add)
            .takes::<trunks::CredentialInput>()
            .gives::<trunks::Credential>(201),
        endpoint(
            Method::GET,
            at!("/credentials/{username}"),
            read,
            "A digest user of a trunk",
            credential_get,
        )
        .gives::<trunks::Credential>(200),
        endpoint(
            Method::DELETE,
            at!("/credentials/{username}"),
            write,
            "Remove a digest user",
            credential_remove,
        ),
    ]
}

/// Calls: the same for both audiences; customers see less of each.
pub(super) fn call_endpoints(audience: Audience) -> Vec<Endpoint> {
    let (list, one) = match audience {
        Audience::Customer => ("/api/v1/calls", "/api/v1/calls/{call_id}"),
        Audience::Operator => ("/api/v1/admin/calls", "/api/v1/admin/calls/{call_id}"),
    };
    let access = Access::Scope(audience, Permission::CallsRead);
    let mut listing = endpoint(Method::GET, list, access, "Calls, newest first", call_list)
        .lists::<calls::ListedCall>()
        .by(Cursor::Call);
    let operators = match audience {
        Audience::Customer => &[],
        Audience::Operator => calls::OPERATORS_FILTERS,
    };
    for (name, form, what) in calls::FILTERS.iter().chain(operators) {
        listing = listing.query(name, *form, what);
    }
    listing = listing
        .query_of(
            "sort",
            calls::SORTS,
            "By the begin of the call, or by when its record became readable; a minus is newest first. `-setup_at` when absent. \
             With `posted_at` meta.last_cursor says where to read on later: no record is missed. The first page of `-posted_at` \
             says it too, for a reader who wants only what comes from now on.",
        )
        .query(
            "expand",
            calls::expand_schema,
            "Parts of the record to add to each call: legs, rating, route; several with commas.",
        );
    let detail = endpoint(Method::GET, one, access, "A call: legs, decision, rating, media", call_get);
    let path = match audience {
        Audience::Customer => "/api/v1/route",
        Audience::Operator => "/api/v1/admin/route",
    };
    let access = Access::Scope(audience, Permission::RouteTest);
    let tester = endpoint(
        Method::POST,
        path,
        access,
        "Route tester: how a call would go; nothing is dialled",
        route_test,
    )
    .takes::<route_test::RouteInput>()
    .gives::<route_test::RouteResult>(200);
    vec![listing, detail.gives::<calls::CallDetail>(200), tester]
}

/// The audit log, for both audiences: row-level security and what is concealed make the difference.
pub(super) fn audit_endpoint(audience: Audience) -> Endpoint {
    let (path, what, operators) = match audience {
        Audience::Customer => ("/api/v1/audit", "What was done to your objects, newest first", &[][..]),
        Audience::Operator => ("/api/v1/admin/audit", "Audit log, newest first", audit::OPERATORS_FILTERS),
    };
    let access = Access::Scope(audience, Permission::AuditRead);
    let listing = endpoint(Method::GET, path, access, what, audit_list).lists::<audit::AuditEntry>();
    let filters = audit::FILTERS.iter().chain(operators);
    filters.fold(listing.by(Cursor::Number), |e, (name, form, what)| e.query(name, *form, what))
}

async fn audit_list(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let which = audit::which(&ctx, |name| r.query(name))?;
    Reply::page(audit::list(&ctx, &which, &r.paging()?).await?)
}

async fn me(app: Arc<App>, r: Request) -> Answer {
    let customer = resource::get::<customers::Customers>(&r.ctx(&app)?, r.customer()?).await?;
    Reply::ok(&customer)
}

async fn ip_list(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("trunk_id", "trunk")?;
    Reply::page(trunks::list_ips(&r.ctx(&app)?, id, r.query("address"), &r.paging()?).await?)
}

async fn ip_add(app: Arc<App>, r: Request) -> Answer {
    let ip = trunks::add_ip(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, r.input()?).await?;
    let at = format!("{}?address={}", r.place, ip.address.replace('/', "%2F"));
    Reply::created(at, &ip)
}

async fn ip_remove(app: Arc<App>, r: Request) -> Answer {
    let address =
        r.query("address").ok_or_else(|| Fault::field("address", "required", "name the address"))?;
    trunks::remove_ip(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, address).await?;
    Reply::done()
}

async fn credential_list(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("trunk_id", "trunk")?;
    Reply::page(trunks::list_credentials(&r.ctx(&app)?, id, &r.paging()?).await?)
}

async fn credential_get(app: Arc<App>, r: Request) -> Answer {
    let username = username(&r)?;
    Reply::ok(&trunks::get_credential(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, username).await?)
}

async fn credential_add(app: Arc<App>, r: Request) -> Answer {
    let user = trunks::add_credential(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, r.input()?).await?;
    Reply::created(r.below(&user.username), &user)
}

async fn credential_remove(app: Arc<App>, r: Request) -> Answer {
    let username = username(&r)?;
    trunks::remove_credential(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, username).await?;
    Reply::done()
}

/// A zero byte cannot be in a user name, and PostgreSQL refuses one.
fn username(r: &Request) -> Result<&str, Fault> {
    let name = r.part("username").filter(|n| !n.chars().any(char::is_control));
    name.ok_or_else(|| Fault::not_found("user"))
}

async fn call_list(app: Arc<App>, r: Request) -> Answer {
    let filter = calls::CallFilter::read(r.scope()?, |name| r.query(name))?;
    Reply::page(calls::list(&r.ctx(&app)?, &filter, &r.paging()?).await?)
}

async fn call_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&calls::get(&r.ctx(&app)?, r.id("call_id", "call")?).await?)
}

async fn route_test(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&route_test::test(&r.ctx(&app)?, r.input()?).await?)
}
