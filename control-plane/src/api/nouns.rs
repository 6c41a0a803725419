//! Endpoints of declared nouns: paths, scopes, verbs, parameters and examples are those of the declaration.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::error::ApiError;
use crate::App;
use crate::app::resource::Resource;
use crate::noun::{Doing, Verb};

/// The endpoints of a noun, for one audience.
pub(super) fn endpoints<R: Resource>(audience: Audience) -> Vec<Endpoint> {
    R::NOUN.verbs.iter().map(|doing| made::<R>(audience, doing)).collect()
}

fn made<R: Resource>(audience: Audience, doing: &Doing) -> Endpoint {
    let noun = R::NOUN;
    let (list, one) = (noun.paths.list(audience), noun.paths.one(audience));
    let summary = doing.summary(audience);
    let (read, write) = (Access::Scope(audience, noun.reads), Access::Scope(audience, noun.writes));
    let (made, changed, seen) = (noun.examples.made, noun.examples.changed, noun.examples.seen);
    match doing.verb {
        Verb::List => endpoint(Method::GET, list, read, summary, page::<R>)
            .lists_noun::<R::View>(noun, audience)
            .shows(seen),
        Verb::Create => {
            let path = if audience == Audience::Customer { list } else { noun.paths.of_parent };
            let made_at = endpoint(Method::POST, path, write, summary, create::<R>).takes::<R::Input>();
            made_at.gives::<R::View>(201).sends(made).shows(seen)
        }
        Verb::Read => endpoint(Method::GET, one, read, summary, get::<R>).gives::<R::View>(200).shows(seen),
        Verb::Change => endpoint(Method::PATCH, one, write, summary, change::<R>)
            .patches::<R::Input>()
            .gives::<R::View>(200)
            .sends(changed)
            .shows(seen),
        Verb::Replace => endpoint(Method::PUT, one, write, summary, change::<R>)
            .takes::<R::Input>()
            .gives::<R::View>(200)
            .sends(made)
            .shows(seen),
        Verb::Delete => endpoint(Method::DELETE, one, write, summary, delete::<R>),
    }
}

async fn page<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let mut listing = r.listing(R::NOUN)?;
    // Row-level security says the same again.
    if let Some(customer) = r.caller()?.customer {
        listing = listing.only(R::NOUN, "customer", customer.to_string())?;
    }
    Reply::page(R::list(&r.ctx(&app)?, &listing).await?)
}

async fn create<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let audience = r.caller()?.audience;
    let customer = match audience {
        // The tenant comes from the key and from nothing else.
        Audience::Customer => r.customer()?,
        Audience::Operator => r.id(R::NOUN.parent_id, "customer")?,
    };
    let made = R::create(&ctx, customer, r.input()?).await?;
    Reply::created(format!("{}/{}", R::NOUN.paths.list(audience), R::id(&made)), &made)
}

async fn get<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&R::get(&r.ctx(&app)?, id::<R>(&r)?).await?)
}

async fn change<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    Reply::ok(&R::update(&ctx, id::<R>(&r)?, r.change(&r.json()?), &r.expected).await?)
}

async fn delete<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    R::delete(&r.ctx(&app)?, id::<R>(&r)?, &r.expected).await?;
    Reply::done()
}

fn id<R: Resource>(r: &Request) -> Result<warp_model::Id<R::Kind>, ApiError> {
    r.id(R::NOUN.paths.id, R::NOUN.one)
}
