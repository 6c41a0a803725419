//! Endpoints of numbers and of what inbound calls go by. Operators make, assign and release numbers; customers see theirs and say which of
//! their trunks take the calls.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::inbound::{
    self, InboundNetworks, InboundNetworksInput, InboundTargets, InboundTargetsInput, InboundTerms,
    InboundTermsInput,
};
use crate::app::numbers::{self, AssignInput, NewNumberInput, Number, NumberInput};
use crate::app::permission::Permission;

macro_rules! paths {
    ($audience:expr, $rest:literal) => {
        match $audience {
            Audience::Customer => concat!("/api/v1", $rest),
            Audience::Operator => concat!("/api/v1/admin", $rest),
        }
    };
}

pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let read = Access::Scope(audience, Permission::NumbersRead);
    let write = Access::Scope(audience, Permission::NumbersWrite);
    let (list, one) = (paths!(audience, "/numbers"), paths!(audience, "/numbers/{number_id}"));
    let mut listing =
        endpoint(Method::GET, list, read, "Numbers, newest first", page).lists::<Number>().sorted();
    let operators = if audience == Audience::Operator { numbers::OPERATORS_FILTERS } else { &[] };
    for (name, form, what) in numbers::FILTERS.iter().chain(operators) {
        listing = listing.query(name, *form, what);
    }
    let targets = paths!(audience, "/trunks/{trunk_id}/inbound");
    let mut all = vec![
        listing,
        endpoint(Method::GET, one, read, "A number", get).gives::<Number>(200),
        endpoint(Method::PATCH, one, write, "Say where calls to a number go; live within 1 s", change)
            .patches::<NumberInput>()
            .gives::<Number>(200),
        endpoint(Method::PUT, one, write, "Replace what a number is set to", change)
            .takes::<NumberInput>()
            .gives::<Number>(200),
        endpoint(Method::GET, targets, read, "Where a trunk takes calls to numbers", targets_get)
            .gives::<InboundTargets>(200),
        endpoint(Method::PUT, targets, write, "Set where a trunk takes calls to numbers", targets_put)
            .takes::<InboundTargetsInput>()
            .gives::<InboundTargets>(200),
    ];
    if audience == Audience::Operator {
        all.extend(operators_endpoints(read, write));
    }
    all
}

fn operators_endpoints(read: Access, write: Access) -> Vec<Endpoint> {
    let customer = "/api/v1/admin/customers/{customer_id}/inbound";
    let vendor = "/api/v1/admin/vendors/{vendor_id}/inbound";
    let networks = "/api/v1/admin/vendor-trunks/{vendor_trunk_id}/inbound";
    vec![
        endpoint(Method::POST, "/api/v1/admin/numbers", write, "Add a number to the inventory", create)
            .takes::<NewNumberInput>()
            .gives::<Number>(201),
        endpoint(
            Method::DELETE,
            "/api/v1/admin/numbers/{number_id}",
            write,
            "Take a number that nobody has out of the inventory",
            delete,
        ),
        endpoint(
            Method::POST,
            "/api/v1/admin/numbers/{number_id}/assign",
            write,
            "Give a number to a customer",
            assign,
        )
        .takes::<AssignInput>()
        .gives::<Number>(200),
        endpoint(
            Method::POST,
            "/api/v1/admin/numbers/{number_id}/release",
            write,
            "Take a number back from its customer",
            release,
        )
        .gives::<Number>(200),
        endpoint(Method::GET, customer, read, "What a customer's inbound calls are sold by", customer_get)
            .gives::<InboundTerms>(200),
        endpoint(
            Method::PUT,
            customer,
            write,
            "Set what a customer's inbound calls are sold by",
            customer_put,
        )
        .takes::<InboundTermsInput>()
        .gives::<InboundTerms>(200),
        endpoint(Method::GET, vendor, read, "What a vendor charges for the calls that it brings", vendor_get)
            .gives::<InboundTerms>(200),
        endpoint(
            Method::PUT,
            vendor,
            write,
            "Set what a vendor charges for the calls that it brings",
            vendor_put,
        )
        .takes::<InboundTermsInput>()
        .gives::<InboundTerms>(200),
        endpoint(Method::GET, networks, read, "Where the calls of a vendor trunk come from", networks_get)
            .gives::<InboundNetworks>(200),
        endpoint(
            Method::PUT,
            networks,
            write,
            "Set where the calls of a vendor trunk come from",
            networks_put,
        )
        .takes::<InboundNetworksInput>()
        .gives::<InboundNetworks>(200),
    ]
}

async fn page(app: Arc<App>, r: Request) -> Answer {
    Reply::page(numbers::list(&r.ctx(&app)?, |name| r.query(name), &r.paging()?).await?)
}

async fn create(app: Arc<App>, r: Request) -> Answer {
    let made = numbers::create(&r.ctx(&app)?, r.input()?).await?;
    Reply::created(r.below(&made.id), &made)
}

async fn get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&numbers::get(&r.ctx(&app)?, r.id("number_id", "number")?).await?)
}

async fn change(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("number_id", "number")?;
    Reply::ok(&numbers::update(&r.ctx(&app)?, id, r.change(&r.json()?), &r.expected).await?)
}

async fn delete(app: Arc<App>, r: Request) -> Answer {
    numbers::delete(&r.ctx(&app)?, r.id("number_id", "number")?, &r.expected).await?;
    Reply::done()
}

async fn assign(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("number_id", "number")?;
    Reply::ok(&numbers::assign(&r.ctx(&app)?, id, r.input()?, &r.expected).await?)
}

async fn release(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&numbers::release(&r.ctx(&app)?, r.id("number_id", "number")?, &r.expected).await?)
}

async fn targets_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&inbound::targets(&r.ctx(&app)?, r.id("trunk_id", "trunk")?).await?)
}

async fn targets_put(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&inbound::set_targets(&r.ctx(&app)?, r.id("trunk_id", "trunk")?, r.input()?).await?)
}

async fn customer_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&inbound::customer_terms(&r.ctx(&app)?, r.id("customer_id", "customer")?).await?)
}

async fn customer_put(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("customer_id", "customer")?;
    Reply::ok(&inbound::set_customer_terms(&r.ctx(&app)?, id, r.input()?).await?)
}

async fn vendor_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&inbound::vendor_terms(&r.ctx(&app)?, r.id("vendor_id", "vendor")?).await?)
}

async fn vendor_put(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("vendor_id", "vendor")?;
    Reply::ok(&inbound::set_vendor_terms(&r.ctx(&app)?, id, r.input()?).await?)
}

async fn networks_get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&inbound::networks(&r.ctx(&app)?, r.id("vendor_trunk_id", "vendor trunk")?).await?)
}

async fn networks_put(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("vendor_trunk_id", "vendor trunk")?;
    Reply::ok(&inbound::set_networks(&r.ctx(&app)?, id, r.input()?).await?)
}
