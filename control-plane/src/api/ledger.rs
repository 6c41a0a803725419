//! Endpoints of the ledger and of balances: both audiences read, operators move money. Each movement has an Idempotency-Key, which is
//! kept with its posting for ever: the same key never moves money twice (T-API-10).

use std::sync::Arc;

use axum::http::Method;

use super::endpoint::{Access, Answer, Audience, Endpoint, Reply, Request, endpoint};
use crate::App;
use crate::app::fault::Fault;
use crate::app::leases::{self, CreditLease, ReleaseInput};
use crate::app::ledger::{self, AdjustmentInput, Balance, Posting, ReversalInput, TopUpInput};
use crate::app::paging::Cursor;
use crate::app::permission::Permission;
use crate::app::reratings::{self, CallPrices, RerateInput, Rerating};

macro_rules! paths {
    ($audience:expr, $rest:literal) => {
        match $audience {
            Audience::Customer => concat!("/api/v1", $rest),
            Audience::Operator => concat!("/api/v1/admin", $rest),
        }
    };
}

pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let read = Access::Scope(audience, Permission::LedgerRead);
    let mut listing = endpoint(
        Method::GET,
        paths!(audience, "/ledger"),
        read,
        "Postings of billing accounts, newest first",
        postings,
    )
    .lists::<Posting>()
    .sorted();
    let operators = if audience == Audience::Operator { ledger::OPERATORS_FILTERS } else { &[] };
    for (name, form, what) in ledger::FILTERS.iter().chain(operators) {
        listing = listing.query(name, *form, what);
    }
    let mut all = vec![
        listing,
        endpoint(Method::GET, paths!(audience, "/ledger/{posting_id}"), read, "A posting", posting)
            .gives::<Posting>(200),
        endpoint(
            Method::GET,
            paths!(audience, "/bans/{ban_id}/balance"),
            read,
            "What a billing account has, and how far it may go",
            balance,
        )
        .gives::<Balance>(200),
    ];
    all.push(
        endpoint(
            Method::GET,
            paths!(audience, "/calls/{call_id}/prices"),
            Access::Scope(audience, Permission::CallsRead),
            "Later versions of the price of a call",
            prices,
        )
        .gives::<CallPrices>(200),
    );
    if audience == Audience::Operator {
        let write = Access::Scope(audience, Permission::LedgerWrite);
        let mut listing = endpoint(
            Method::GET,
            "/api/v1/admin/leases",
            read,
            "Money of accounts that is lent to nodes, newest first",
            lease_list,
        )
        .lists::<CreditLease>()
        .by(Cursor::Number);
        for (name, form, what) in leases::FILTERS {
            listing = listing.query(name, *form, what);
        }
        all.push(listing);
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/admin/leases/{lease_number}/release",
                write,
                "Give the money of a lost node back to its account",
                lease_release,
            )
            .takes::<ReleaseInput>()
            .gives::<CreditLease>(200),
        );
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/admin/calls/rerate",
                write,
                "Rate calls again by the price lists in force now, and post the difference",
                rerate,
            )
            .takes::<RerateInput>()
            .gives::<Rerating>(200)
            .keyed(),
        );
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/admin/bans/{ban_id}/top-ups",
                write,
                "Book money that came in",
                top_up,
            )
            .takes::<TopUpInput>()
            .gives::<Posting>(201)
            .keyed(),
        );
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/admin/bans/{ban_id}/adjustments",
                write,
                "Correct a balance",
                adjust,
            )
            .takes::<AdjustmentInput>()
            .gives::<Posting>(201)
            .keyed(),
        );
        all.push(
            endpoint(
                Method::POST,
                "/api/v1/admin/ledger/{posting_id}/reversal",
                write,
                "Take a top-up or an adjustment back, whole and once",
                reverse,
            )
            .takes::<ReversalInput>()
            .gives::<Posting>(201)
            .keyed(),
        );
    }
    all
}

async fn postings(app: Arc<App>, r: Request) -> Answer {
    Reply::page(ledger::list(&r.ctx(&app)?, |name| r.query(name), &r.paging()?).await?)
}

async fn posting(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&ledger::get(&r.ctx(&app)?, r.id("posting_id", "posting")?).await?)
}

async fn balance(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&ledger::balance(&r.ctx(&app)?, r.id("ban_id", "billing account")?).await?)
}

async fn lease_list(app: Arc<App>, r: Request) -> Answer {
    Reply::page(leases::list(&r.ctx(&app)?, r.query("ban"), &r.paging()?).await?)
}

async fn lease_release(app: Arc<App>, r: Request) -> Answer {
    let number = r.part("lease_number").and_then(|t| t.parse().ok());
    let number = number.ok_or_else(|| Fault::not_found("lease"))?;
    Reply::ok(&leases::release(&r.ctx(&app)?, number, r.input()?).await?)
}

async fn top_up(app: Arc<App>, r: Request) -> Answer {
    let ban = r.id("ban_id", "billing account")?;
    made(&ledger::top_up(&r.ctx(&app)?, ban, &r.key()?, r.input()?).await?)
}

async fn prices(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&reratings::prices(&r.ctx(&app)?, r.id("call_id", "call")?).await?)
}

async fn rerate(app: Arc<App>, r: Request) -> Answer {
    Reply::ok(&reratings::rerate(&r.ctx(&app)?, &r.key()?, r.input()?).await?)
}

async fn adjust(app: Arc<App>, r: Request) -> Answer {
    let ban = r.id("ban_id", "billing account")?;
    made(&ledger::adjust(&r.ctx(&app)?, ban, &r.key()?, r.input()?).await?)
}

async fn reverse(app: Arc<App>, r: Request) -> Answer {
    let id = r.id("posting_id", "posting")?;
    made(&ledger::reverse(&r.ctx(&app)?, id, &r.key()?, r.input()?).await?)
}

fn made(posting: &Posting) -> Answer {
    Reply::created(format!("/api/v1/admin/ledger/{}", posting.id), posting)
}
