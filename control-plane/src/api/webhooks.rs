//! Endpoints of webhooks besides those of the declared noun: secrets, deliveries, replays.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use super::error::ApiError;
use super::nouns;
use crate::App;
use crate::app::permission::Permission;
use crate::app::webhooks::{
    self, ConfirmInput, Delivery, NewSecret, ReplayInput, Replayed, SecretInput, Webhook, WebhookId, Webhooks,
};

/// The endpoints of one audience.
pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    macro_rules! at {
        ($rest:literal) => {
            match audience {
                Audience::Customer => concat!("/api/v1/webhooks/{webhook_id}", $rest),
                Audience::Operator => concat!("/api/v1/admin/webhooks/{webhook_id}", $rest),
            }
        };
    }
    let read = Access::Scope(audience, Permission::WebhooksRead);
    let write = Access::Scope(audience, Permission::WebhooksWrite);
    let mut listing =
        endpoint(Method::GET, at!("/deliveries"), read, "What became of events at a webhook", deliveries)
            .lists::<Delivery>();
    for (name, form, what) in webhooks::FILTERS {
        listing = listing.query(name, *form, what);
    }
    let mut out = nouns::endpoints::<Webhooks>(audience);
    out.extend([
        listing,
        endpoint(
            Method::GET,
            at!("/deliveries/{event_id}"),
            read,
            "What became of an event at a webhook, with what is sent",
            delivery,
        )
        .gives::<Delivery>(200),
        endpoint(
            Method::POST,
            at!("/deliveries/{event_id}/replay"),
            write,
            "Send an event to a webhook again",
            replay,
        )
        .gives::<Delivery>(200),
        endpoint(Method::POST, at!("/replay"), write, "Send the deliveries of a range again", replay_range)
            .takes::<ReplayInput>()
            .gives::<Replayed>(200),
        endpoint(Method::POST, at!("/test"), write, "Send the event webhook.test to a webhook", test)
            .gives::<Delivery>(201),
        endpoint(
            Method::POST,
            at!("/confirm"),
            write,
            "Confirm an address of mail with the code that was sent there",
            confirm,
        )
        .takes::<ConfirmInput>()
        .gives::<Webhook>(200),
        endpoint(
            Method::POST,
            at!("/secret"),
            write,
            "Make a new secret; the old one signs as well during the overlap",
            roll,
        )
        .takes::<SecretInput>()
        .gives::<NewSecret>(200)
        .secret(),
    ]);
    out
}

fn id(r: &Request) -> Result<WebhookId, ApiError> {
    r.id("webhook_id", "webhook")
}

async fn deliveries(app: Arc<App>, r: Request) -> Answer {
    Reply::page(webhooks::deliveries(&r.ctx(&app)?, id(&r)?, r.query("status"), &r.paging()?).await?)
}

async fn delivery(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&webhooks::delivery(&r.ctx(&app)?, id(&r)?, r.id("event_id", "delivery")?).await?)
}

async fn replay(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&webhooks::replay(&r.ctx(&app)?, id(&r)?, r.id("event_id", "delivery")?).await?)
}

async fn replay_range(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&webhooks::replay_range(&r.ctx(&app)?, id(&r)?, r.input()?).await?)
}

async fn test(app: Arc<App>, r: Request) -> Answer {
    let made = webhooks::test(&r.ctx(&app)?, id(&r)?).await?;
    let place = r.below("").trim_end_matches('/').trim_end_matches("/test").to_owned();
    Reply::created(format!("{place}/deliveries/{}", made.event_id), &made)
}

async fn confirm(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&webhooks::confirm(&r.ctx(&app)?, id(&r)?, r.input()?).await?)
}

async fn roll(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&webhooks::roll(&r.ctx(&app)?, id(&r)?, r.input()?).await?)
}
