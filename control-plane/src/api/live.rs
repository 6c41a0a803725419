//! Endpoints of calls in the air: the list, hanging up; the messages of a call, and who was refused. The same for both audiences; customers see less of each.

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::permission::Permission;
use crate::app::{ladder, live};

/// The endpoints of one audience.
pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    macro_rules! at {
        ($rest:literal) => {
            match audience {
                Audience::Customer => concat!("/api/v1/calls", $rest),
                Audience::Operator => concat!("/api/v1/admin/calls", $rest),
            }
        };
    }
    let read = Access::Scope(audience, Permission::CallsRead);
    let write = Access::Scope(audience, Permission::CallsHangUp);
    let operators = match audience {
        Audience::Customer => &[],
        Audience::Operator => live::OPERATORS_FILTERS,
    };
    let listing = endpoint(
        Method::GET,
        at!("/live"),
        read,
        "Calls in the air, newest first, with what they cost so far",
        look,
    );
    let filters = live::FILTERS.iter().chain(operators);
    let listing = filters.fold(listing, |e, (name, form, what)| e.query(name, *form, what));
    let mut all = vec![
        endpoint(Method::GET, at!("/{call_id}/ladder"), read, "The messages of a call as a picture", picture)
            .gives::<ladder::Ladder>(200),
        listing.gives::<live::LiveCalls>(200),
        endpoint(
            Method::POST,
            at!("/{call_id}/hang-up"),
            write,
            "Hang up a call in the air, both ways",
            hang_up,
        )
        .takes::<live::HangUpInput>()
        .gives::<live::HungUpCall>(200),
    ];
    if audience == Audience::Operator {
        let path = "/api/v1/admin/refused-sources";
        let what = "Addresses without an account that wanted something lately, and what they were answered";
        let listing = endpoint(Method::GET, path, read, what, refused);
        let listing =
            ladder::FILTERS.iter().fold(listing, |e, (name, form, what)| e.query(name, *form, what));
        all.push(listing.gives::<ladder::RefusedSources>(200));
    }
    all
}

async fn look(app: Arc<App>, r: Request) -> Answer {
    let filter = live::LiveFilter::read(r.scope()?, |name| r.query(name))?;
    Reply::ok(&live::list(&r.ctx(&app)?, &filter).await?)
}

async fn picture(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&ladder::get(&r.ctx(&app)?, r.id("call_id", "call")?).await?)
}

async fn refused(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&ladder::refused(&r.ctx(&app)?, r.query("address")).await?)
}

async fn hang_up(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&live::hang_up(&r.ctx(&app)?, r.id("call_id", "call")?, r.input()?).await?)
}
