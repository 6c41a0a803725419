//! The HTTP edge: `/api/v1` for customers, `/api/v1/admin` for operators, `/api/docs` for people.

pub mod auth;
pub mod consoles;
pub mod edge;
pub mod endpoint;
pub mod error;
mod events;
pub mod framing;
pub mod idempotency;
pub mod json;
mod ledger;
pub mod limiter;
mod live;
mod numbers;
pub mod openapi;
pub mod server;
pub mod sessions;
pub mod tls;

mod admin;
mod customer;
mod decks;
mod docs;
mod jobs;
mod keys;
mod messages;
pub mod nouns;
mod users;
mod webhooks;

use endpoint::Endpoint;

/// Every endpoint. The router, the OpenAPI files and the isolation test are made from this.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = docs::endpoints();
    all.extend(
        [endpoint::Audience::Customer, endpoint::Audience::Operator]
            .into_iter()
            .flat_map(sessions::endpoints),
    );
    all.extend(customer::endpoints());
    all.extend(admin::endpoints());
    all
}
