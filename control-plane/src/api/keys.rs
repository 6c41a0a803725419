//! Endpoints of API keys: a customer's own, and the operators' for both.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::permission::Permission;
use crate::app::{customers, keys, resource, views};

macro_rules! admin {
    ($rest:literal) => {
        concat!("/api/v1/admin", $rest)
    };
}

/// The endpoints of one audience.
pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let read = Access::Scope(audience, Permission::KeysRead);
    let write = Access::Scope(audience, Permission::KeysWrite);
    let (list, one, rotation) = match audience {
        Audience::Customer => ("/api/v1/keys", "/api/v1/keys/{key_id}", "/api/v1/keys/{key_id}/rotate"),
        Audience::Operator => (admin!("/keys"), admin!("/keys/{key_id}"), admin!("/keys/{key_id}/rotate")),
    };
    let (all, make, revoke) = match audience {
        Audience::Customer => ("API keys", "Make an API key; its secret is shown once", "Revoke an API key"),
        Audience::Operator => ("Operators' keys", "Make an operator's key", "Revoke any key"),
    };
    let mut out = vec![
        endpoint(Method::GET, list, read, all, own_list).lists::<keys::ApiKey>(),
        endpoint(Method::POST, list, write, make, own_new)
            .takes::<keys::ApiKeyInput>()
            .gives::<keys::NewApiKey>(201)
            .secret(),
        endpoint(Method::GET, one, read, "An API key", get).gives::<keys::ApiKey>(200),
        endpoint(Method::DELETE, one, write, revoke, end),
        endpoint(
            Method::POST,
            rotation,
            write,
            "Make the key that follows this one; both live during the overlap",
            rotate,
        )
        .takes::<keys::RotationInput>()
        .gives::<keys::NewApiKey>(201)
        .secret(),
    ];
    if audience == Audience::Operator {
        let of = admin!("/customers/{customer_id}/keys");
        out.push(endpoint(Method::GET, of, read, "A customer's keys", customer_list).lists::<keys::ApiKey>());
        out.push(
            endpoint(Method::POST, of, write, "Make a customer's key", customer_new)
                .takes::<keys::ApiKeyInput>()
                .gives::<keys::NewApiKey>(201)
                .secret(),
        );
        let look = "Look through a customer's eyes: a key that only reads, for 30 minutes";
        out.push(
            endpoint(
                Method::POST,
                admin!("/customers/{customer_id}/views"),
                Access::Scope(audience, Permission::ViewsWrite),
                look,
                view,
            )
            .takes::<views::ViewInput>()
            .gives::<keys::NewApiKey>(201)
            .secret(),
        );
    }
    out
}

async fn own_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(keys::list(&r.ctx(&app)?, r.caller()?.customer, &r.paging()?).await?)
}

async fn own_new(app: Arc<App>, r: Request) -> Answer {
    let input: keys::ApiKeyInput = r.input()?;
    keys::may_grant(r.caller()?, &input)?;
    keys::no_more_than(r.caller()?, &input, app.wall())?;
    let made = keys::create(&r.ctx(&app)?, r.caller()?.customer, input).await?;
    Reply::created(r.below(&made.key.id), &made)
}

async fn get(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&keys::get(&r.ctx(&app)?, r.id("key_id", "key")?).await?)
}

async fn end(app: Arc<App>, r: Request) -> Answer {
    keys::revoke(&r.ctx(&app)?, r.id("key_id", "key")?).await?;
    Reply::done()
}

async fn rotate(app: Arc<App>, r: Request) -> Answer {
    let made = keys::rotate(&r.ctx(&app)?, r.caller()?, r.id("key_id", "key")?, r.input()?).await?;
    let list = match r.caller()?.audience {
        Audience::Customer => "/api/v1/keys",
        Audience::Operator => admin!("/keys"),
    };
    Reply::created(format!("{list}/{}", made.key.id), &made)
}

async fn customer_list(app: Arc<App>, r: Request) -> Answer {
    let customer = r.id("customer_id", "customer")?;
    Reply::page(keys::list(&r.ctx(&app)?, Some(customer), &r.paging()?).await?)
}

async fn customer_new(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let customer = r.id("customer_id", "customer")?;
    let input: keys::ApiKeyInput = r.input()?;
    keys::may_grant(r.caller()?, &input)?;
    keys::no_more_scopes(r.caller()?, &input)?;
    resource::get::<customers::Customers>(&ctx, customer).await?;
    let made = keys::create(&ctx, Some(customer), input).await?;
    Reply::created(format!(admin!("/keys/{}"), made.key.id), &made)
}

async fn view(app: Arc<App>, r: Request) -> Answer {
    let made = views::start(&r.ctx(&app)?, r.id("customer_id", "customer")?, r.input()?).await?;
    Reply::created(format!(admin!("/keys/{}"), made.key.id), &made)
}
