//! Short messages: lists and timelines are those of the declaration; sending one, and reading a text, stand here.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint, to_json};
use crate::App;
use crate::app::messages::{self, MessageContent, MessageInput, Messages, SentMessages};
use crate::app::permission::Permission;
use crate::noun::message::MESSAGE;

pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let content = match audience {
        Audience::Customer => "/api/v1/messages/{message_id}/content",
        Audience::Operator => "/api/v1/admin/messages/{message_id}/content",
    };
    let mut all = super::nouns::endpoints::<Messages>(audience);
    for one in all.iter_mut().filter(|e| e.path == MESSAGE.paths.one(audience)) {
        // One that was taken a moment ago is waited for.
        *one = endpoint(
            Method::GET,
            MESSAGE.paths.one(audience),
            Access::Scope(audience, Permission::MessagesRead),
            "A message with its timeline",
            get,
        )
        .gives::<messages::Message>(200)
        .shows(MESSAGE.examples.seen)
        .answers(&MESSAGE);
    }
    all.push(
        endpoint(
            Method::GET,
            content,
            Access::Scope(audience, Permission::MessagesContent),
            "What was written in a message; each look is in the audit log",
            read,
        )
        .gives::<MessageContent>(200),
    );
    if audience == Audience::Customer {
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/messages",
                Access::Scope(audience, Permission::MessagesWrite),
                "Send a message; it is on disk when this answers",
                send,
            )
            .takes::<MessageInput>()
            .gives::<SentMessages>(200),
        );
    }
    all
}

async fn get(app: Arc<App>, r: Request) -> Answer {
    let found = messages::get(&r.ctx(&app)?, r.id("message_id", "message")?).await?;
    Reply::ok(&MESSAGE.answered(r.caller()?.audience, to_json(&found)?))
}

async fn read(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&messages::content(&r.ctx(&app)?, r.id("message_id", "message")?).await?)
}

async fn send(app: Arc<App>, r: Request) -> Answer {
    let ctx = r.ctx(&app)?;
    let sent = messages::send(&ctx, r.customer()?, r.input()?).await?;
    Reply::ok(&sent)
}
