//! Endpoints of declared nouns: paths, scopes, verbs, parameters and examples are those of the declaration.

use std::sync::Arc;

use axum::http::Method;
use serde_json::Value;

use super::endpoint::{Access, Answer, Audience, Endpoint, Page, Reply, Request, endpoint, to_json};
use super::error::{ApiError, Code};
use crate::App;
use crate::app::fault::Fault;
use crate::app::resource::{self, Belonging as _, Resource};
use crate::noun::{Doing, Verb};

/// The endpoints of a noun, for one audience.
pub fn endpoints<R: Resource>(audience: Audience) -> Vec<Endpoint> {
    let noun = resource::noun::<R>();
    let mut out: Vec<Endpoint> = noun.verbs_of(audience).map(|doing| made::<R>(audience, doing)).collect();
    if let (Audience::Operator, Some(summary)) = (audience, noun.parent.as_ref().and_then(|p| p.or_carrier)) {
        out.push(makes::<R>(audience, noun.paths.all_list, summary).answers(noun));
    }
    out
}

/// The endpoint that makes objects at this path.
fn makes<R: Resource>(audience: Audience, path: &'static str, summary: &'static str) -> Endpoint {
    let noun = resource::noun::<R>();
    let write = Access::Scope(audience, noun.writes);
    let made_at = endpoint(Method::POST, path, write, summary, create::<R>).takes::<R::Input>();
    let made_at = made_at.gives::<R::View>(201).sends(noun.examples.made).shows(noun.examples.seen);
    if R::SHOWS_SECRET { made_at.secret() } else { made_at }
}

fn made<R: Resource>(audience: Audience, doing: &Doing) -> Endpoint {
    let noun = resource::noun::<R>();
    let (list, one) = (noun.paths.list(audience), noun.paths.one(audience));
    let summary = doing.summary(audience);
    let (read, write) = (Access::Scope(audience, noun.reads), Access::Scope(audience, noun.writes));
    let (made, changed, shown) = (noun.examples.made, noun.examples.changed, noun.examples.seen);
    let endpoint = match doing.verb {
        Verb::List => endpoint(Method::GET, list, read, summary, page::<R>)
            .lists_noun::<R::View>(noun, audience)
            .shows(shown),
        Verb::Create => makes::<R>(
            audience,
            if audience == Audience::Customer { list } else { noun.paths.made_at },
            summary,
        ),
        Verb::Read => endpoint(Method::GET, one, read, summary, get::<R>).gives::<R::View>(200).shows(shown),
        Verb::Change => endpoint(Method::PATCH, one, write, summary, change::<R>)
            .patches::<R::Input>()
            .gives::<R::View>(200)
            .sends(changed)
            .shows(shown),
        Verb::Replace => endpoint(Method::PUT, one, write, summary, change::<R>)
            .takes::<R::Input>()
            .gives::<R::View>(200)
            .sends(made)
            .shows(shown),
        Verb::Delete => endpoint(Method::DELETE, one, write, summary, delete::<R>),
    };
    endpoint.answers(noun)
}

/// What this caller is answered of an object.
fn seen<R: Resource>(audience: Audience, view: &R::View) -> Result<Value, ApiError> {
    Ok(resource::noun::<R>().answered(audience, to_json(view)?))
}

async fn page<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let noun = resource::noun::<R>();
    let mut listing = r.listing(noun)?;
    // Row-level security says the same again.
    if let Some(customer) = r.caller()?.customer {
        listing = listing.only(noun, "customer", customer.to_string())?;
    }
    let (audience, page) = (r.caller()?.audience, resource::list::<R>(&r.ctx(&app)?, &listing).await?);
    let items = page.items.iter().map(|view| seen::<R>(audience, view)).collect::<Result<Vec<_>, _>>()?;
    Reply::page(Page { items, next: page.next, last: page.last })
}

async fn create<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let audience = r.caller()?.audience;
    let noun = resource::noun::<R>();
    let parent = match audience {
        // The tenant comes from the key and from nothing else.
        Audience::Customer => R::Parent::of_customer(r.customer()?)
            .ok_or_else(|| ApiError::new(Code::Forbidden, "this endpoint is for operators' keys"))?,
        Audience::Operator => {
            let named = noun.parent.as_ref().map_or("", |p| p.id);
            R::Parent::read(r.part(named)).ok_or_else(|| Fault::not_found(named.trim_end_matches("_id")))?
        }
    };
    let (id, made) = resource::create::<R>(&ctx, parent, r.input()?).await?;
    let place = format!("{}/{id}", noun.paths.list(audience));
    Reply::created(place, &seen::<R>(audience, &made)?)
}

async fn get<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let found = resource::get::<R>(&r.ctx(&app)?, id::<R>(&r)?).await?;
    Reply::ok(&seen::<R>(r.caller()?.audience, &found)?)
}

async fn change<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let changed = resource::update::<R>(&ctx, id::<R>(&r)?, r.change(&r.json()?), &r.expected).await?;
    Reply::ok(&seen::<R>(r.caller()?.audience, &changed)?)
}

async fn delete<R: Resource>(app: Arc<App>, r: Request) -> Answer {
    resource::delete::<R>(&r.ctx(&app)?, id::<R>(&r)?, &r.expected).await?;
    Reply::done()
}

fn id<R: Resource>(r: &Request) -> Result<warp_model::Id<R::Kind>, ApiError> {
    let noun = resource::noun::<R>();
    r.id(noun.paths.id, noun.called)
}
