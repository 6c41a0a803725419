//! Browsers that sign in: the whole way through the demo issuer, over HTTP, with the cookies that a browser would keep.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{Api, Reply, subject_of, with_api, with_configured_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::{Access, Audience};
use warp_control_plane::app::permission::{CustomerRole, OperatorRole, Role};
use warp_control_plane::store::Scope;

/// A browser: it keeps cookies and follows what it is told.
struct Browser {
    api: Arc<Api>,
    jar: Mutex<BTreeMap<String, String>>,
}

const CUSTOMER: &str = "warp-customer";
const OPERATOR: &str = "warp-operator";

fn base(audience: Audience) -> &'static str {
    if audience == Audience::Operator { "/api/v1/admin" } else { "/api/v1" }
}

impl Browser {
    fn new(api: &Arc<Api>) -> Self {
        Self { api: api.clone(), jar: Mutex::default() }
    }

    fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    fn put(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.into(), value.into());
    }

    /// A request with the cookies of the jar; keeps those that come back.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let cookies: Vec<String> = self.jar.lock().unwrap().iter().map(|(n, v)| format!("{n}={v}")).collect();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("Cookie", &cookies));
        }
        let reply = self.api.send(method, path, &all, body).await;
        for line in set_cookies(&reply) {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            let mut jar = self.jar.lock().unwrap();
            if line.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    /// A change as a portal sends it.
    async fn change(&self, method: &str, path: &str, body: Value) -> Reply {
        let headers = [("Warp-Request", "1"), ("Content-Type", "application/json")];
        self.send(method, path, &headers, body.to_string().as_bytes()).await
    }

    /// Goes to the issuer; where the issuer sends it back to.
    async fn to_issuer(&self, audience: Audience, query: &str) -> String {
        let sent = self.get(&format!("{}/session/login?{query}", base(audience))).await;
        assert_eq!(sent.status, 302, "{}", sent.body);
        let issuer = local(&self.api, sent.header("location").unwrap());
        let back = self.get(&issuer).await;
        local(&self.api, back.header("location").unwrap_or_else(|| panic!("{} {}", back.status, back.body)))
    }

    /// Signs in as the demo person of a role.
    async fn sign_in(&self, role: Role, query: &str) -> Reply {
        let query = format!("login_hint={}{query}", subject_of(role));
        let back = self.to_issuer(role.audience(), &query).await;
        self.get(&back).await
    }
}

fn set_cookies(reply: &Reply) -> Vec<&str> {
    let lines = reply.head.lines().filter_map(|l| l.split_once(':'));
    lines.filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie")).map(|(_, v)| v.trim()).collect()
}

/// The path and the query of an address of this API.
fn local(api: &Api, url: &str) -> String {
    let host = format!("http://{}", api.control.addr);
    url.strip_prefix(&host).unwrap_or_else(|| panic!("{url} is not ours")).to_owned()
}

fn owner() -> Role {
    Role::Customer(CustomerRole::Owner)
}

fn admin() -> Role {
    Role::Operator(OperatorRole::Admin)
}

/// A customer with an owner, and a browser that is signed in as the owner.
async fn signed_in(api: &Arc<Api>) -> (String, Browser) {
    let (customer, _) = api.customer("Mine").await;
    api.person(owner(), Some(&customer)).await;
    let browser = Browser::new(api);
    assert_eq!(browser.sign_in(owner(), "").await.status, 200);
    (customer, browser)
}

/// Runs a statement on the rows of sessions.
async fn alter(api: &Api, change: &'static str) {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    sqlx::query(change).execute(tx.db()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn count(api: &Api) -> i64 {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(tx.db()).await.unwrap()
}

#[test]
fn a_browser_signs_in_and_works_and_signs_out() {
    with_api(|api| async move {
        let (customer, key) = api.customer("Mine").await;
        let (user, _) = api.person(owner(), Some(&customer)).await;
        let browser = Browser::new(&api);
        assert_eq!(browser.get("/api/v1/session").await.status, 401);
        let back = browser.sign_in(owner(), "&return_to=/trunks?a=%3Cb%3E%26c").await;
        assert_eq!(back.status, 200, "{}", back.body);
        assert!(back.body.contains("content=\"0;url=/trunks?a=&lt;b&gt;&amp;c\""), "{}", back.body);
        assert_eq!(back.header("referrer-policy"), Some("no-referrer"));
        assert!(back.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        let cookies = set_cookies(&back);
        let session = cookies.iter().find(|c| c.starts_with("warp-customer=")).unwrap();
        assert!(
            session.contains("; HttpOnly; SameSite=Strict") && session.contains("; Path=/;"),
            "{session}"
        );
        assert!(browser.cookie("warp-customer-login").is_none(), "the sign-in is over");
        let who = browser.get("/api/v1/session").await.data();
        assert_eq!(
            (&who["id"], &who["customer_id"], &who["role"]),
            (&json!(user), &json!(customer), &json!("owner"))
        );
        assert!(who["permissions"].as_array().unwrap().contains(&json!("trunks:write")), "{who}");
        assert!(!who["permissions"].to_string().contains("vendors"), "only what its API has: {who}");
        assert!(
            who["second_factor_until"].is_string() && who["expires_at"].is_string() && who["idle_s"] == 3_600
        );
        let made = browser.change("POST", "/api/v1/trunks", json!({ "name": "t" })).await;
        assert_eq!(made.status, 201, "{}", made.body);
        // The tokens and the secret are nowhere in clear, and the audit log has both ends.
        let secret = browser.cookie(CUSTOMER).unwrap();
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let row: String = sqlx::query_scalar("SELECT s::text || encode(s.tokens, 'escape') FROM sessions s")
            .fetch_one(tx.db())
            .await
            .unwrap();
        assert!(!row.contains(&secret) && !row.contains("refresh"), "{row}");
        drop(tx);
        let out = browser.send("DELETE", "/api/v1/session", &[("Warp-Request", "1")], b"").await;
        let url = out.data()["sign_out_url"].as_str().unwrap().to_owned();
        assert!(
            url.contains(
                "/dev/signed-out?client_id=warp-dev&post_logout_redirect_uri=http%3A%2F%2F127.0.0.1"
            ),
            "{url}"
        );
        assert_eq!(browser.get(&local(&api, &url)).await.status, 200);
        assert!(browser.cookie(CUSTOMER).is_none());
        browser.put(CUSTOMER, &secret);
        assert_eq!(
            browser.get("/api/v1/session").await.status,
            401,
            "it ended here, not only in the browser"
        );
        let log = api.call(&key, "GET", "/api/v1/audit?limit=10", None).await.data();
        for action in ["session.start", "session.end"] {
            let line = log.as_array().unwrap().iter().find(|l| l["action"] == action);
            assert_eq!(line.unwrap_or_else(|| panic!("{action} is not in {log}"))["actor"], user.as_str());
        }
    });
}

#[test]
fn t_web_01_a_change_by_a_cookie_needs_the_header_that_no_other_site_can_send() {
    with_api(|api| async move {
        let (_, browser) = signed_in(&api).await;
        for e in &api.control.app.endpoints {
            let (Access::Scope(Audience::Customer, _) | Access::Anyone(Audience::Customer)) = e.access else {
                continue;
            };
            let path = e
                .path
                .split('/')
                .map(|p| if p.starts_with('{') { "trk_00000000000000000000000000" } else { p });
            let path = path.collect::<Vec<_>>().join("/");
            let kind = [("Content-Type", "application/json")];
            let r = browser.send(e.method.as_str(), &path, &kind, b"{}").await;
            if e.method == "GET" {
                assert_ne!(r.status, 403, "{path}: {}", r.body);
                continue;
            }
            assert_eq!((r.status, r.code().as_str()), (403, "forbidden"), "{} {path}: {}", e.method, r.body);
            assert!(r.body.contains("Warp-Request"), "{}", r.body);
        }
        assert_eq!(browser.get("/api/v1/session").await.status, 200, "nothing has ended it");
        // Who brings a key needs no such header.
        let (_, key) = api.customer("Other").await;
        assert_eq!(api.call(&key, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.status, 201);
    });
}

#[test]
fn t_web_01_a_sign_in_ends_in_the_browser_that_began_it_and_once() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Mine").await;
        api.person(owner(), Some(&customer)).await;
        let (mine, other) = (Browser::new(&api), Browser::new(&api));
        let hint = format!("login_hint={}", subject_of(owner()));
        let refused = async |browser: &Browser, path: &str| {
            let r = browser.get(path).await;
            assert_eq!((r.status, r.code().as_str()), (403, "login_refused"), "{path}: {}", r.body);
            assert!(browser.cookie(CUSTOMER).is_none());
        };
        // A link with somebody's code, in a browser that began nothing, and in one that began another sign-in.
        let link = mine.to_issuer(Audience::Customer, &hint).await;
        refused(&other, &link).await;
        other.to_issuer(Audience::Customer, &hint).await;
        refused(&other, &link).await;
        // The cookie of another one's sign-in, of the other audience, and one that nobody sealed.
        let begun = mine.cookie("warp-customer-login").unwrap();
        let operator = Browser::new(&api);
        operator.put("warp-operator-login", &begun);
        refused(&operator, &link.replace("/api/v1/session", "/api/v1/admin/session")).await;
        let forged = Browser::new(&api);
        forged.put("warp-customer-login", &begun.replace(|c: char| c.is_ascii_digit(), "A"));
        refused(&forged, &link).await;
        // Another state, another issuer's name, no code, and the issuer's refusal.
        refused(&mine, &link.replace("state=", "state=x")).await;
        refused(&mine, &format!("{link}&iss=https://evil.example")).await;
        let state = link.split("state=").nth(1).unwrap();
        refused(&mine, &format!("/api/v1/session/callback?state={state}")).await;
        let r = mine.get(&format!("/api/v1/session/callback?state={state}&error=access_denied%3Cb%3E")).await;
        assert!(r.status == 403 && r.body.contains("the issuer refuses: access_denied"), "{}", r.body);
        // What an issuer adds is ignored (RFC 6749 §4.1.2), and its own name is right.
        let named = format!("{link}&session_state=x&iss=http%3A%2F%2F{}%2Fdev", api.control.addr);
        assert_eq!(mine.get(&named).await.status, 200);
        let secret = mine.cookie(CUSTOMER).unwrap();
        // The same once more, with the same cookie: the code was used.
        let again = Browser::new(&api);
        again.put("warp-customer-login", &begun);
        refused(&again, &link).await;
        assert_eq!(count(&api).await, 1);
        // A cookie opens the API of its own audience only, and no secret is guessed.
        let elsewhere = Browser::new(&api);
        elsewhere.put(OPERATOR, &secret);
        assert_eq!(elsewhere.get("/api/v1/admin/session").await.status, 401);
        elsewhere.put(CUSTOMER, &secret.replace(|c: char| c.is_ascii_lowercase(), "a"));
        assert_eq!(elsewhere.get("/api/v1/session").await.status, 401);
    });
}

#[test]
fn t_web_01_nobody_is_sent_to_another_host_and_four_tabs_sign_in_at_once() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Mine").await;
        api.person(owner(), Some(&customer)).await;
        let browser = Browser::new(&api);
        for bad in ["//evil.example", "https://evil.example/", "/%5Cevil.example", "x", "%2F%2Fevil.example"]
        {
            let r = browser.get(&format!("/api/v1/session/login?return_to={bad}")).await;
            assert_eq!((r.status, r.code().as_str()), (422, "validation_failed"), "{bad}: {}", r.body);
        }
        assert_eq!(browser.get("/api/v1/session/login?x=1").await.status, 400);
        let hint = format!("login_hint={}", subject_of(owner()));
        let mut tabs = Vec::new();
        for i in 0..5 {
            tabs.push(browser.to_issuer(Audience::Customer, &format!("{hint}&return_to=/{i}")).await);
        }
        let first = tabs.remove(0);
        assert_eq!(browser.get(&first).await.code(), "login_refused", "five at once are one too many");
        for (i, back) in tabs.iter().enumerate() {
            let r = browser.get(back).await;
            assert!(r.status == 200 && r.body.contains(&format!("url=/{}\"", i + 1)), "{}", r.body);
        }
        assert!(browser.cookie("warp-customer-login").is_none());
    });
}

#[test]
fn t_api_03_a_session_ends_when_it_idles_or_is_old_or_its_person_may_not_come_in() {
    with_api(|api| async move {
        let (customer, browser) = signed_in(&api).await;
        let status = async || browser.get("/api/v1/session").await.status;
        assert_eq!(status().await, 200);
        alter(&api, "UPDATE sessions SET last_used_at = now() - interval '59 minutes'").await;
        assert_eq!(status().await, 200);
        let fresh = "SELECT count(*) FROM sessions WHERE last_used_at > now() - interval '5 seconds'";
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let touched: i64 = sqlx::query_scalar(fresh).fetch_one(tx.db()).await.unwrap();
        assert_eq!(touched, 1, "a request was made");
        drop(tx);
        alter(&api, "UPDATE sessions SET last_used_at = now() - interval '61 minutes'").await;
        assert_eq!(status().await, 401, "it idled");
        alter(&api, "UPDATE sessions SET last_used_at = now(), expires_at = now()").await;
        assert_eq!(status().await, 401, "it is old");
        alter(&api, "UPDATE sessions SET expires_at = now() + interval '1 hour'").await;
        assert_eq!(status().await, 200);
        for (off, on) in [
            ("UPDATE users SET status = 'disabled'", "UPDATE users SET status = 'active'"),
            ("UPDATE customers SET status = 'suspended'", "UPDATE customers SET status = 'active'"),
            // Somebody else is bound to the row now.
            ("UPDATE users SET subject = 'other'", "UPDATE users SET subject = 'customer-owner'"),
            ("UPDATE users SET organisation = 'org_1'", "UPDATE users SET organisation = ''"),
        ] {
            alter(&api, off).await;
            assert_eq!(status().await, 401, "{off}");
            alter(&api, on).await;
            assert_eq!(status().await, 200, "{on}");
        }
        // A role that is taken away is away with the next request.
        alter(&api, "UPDATE users SET role = 'read_only'").await;
        assert_eq!(browser.change("POST", "/api/v1/trunks", json!({ "name": "u" })).await.status, 403);
        // Everywhere is everywhere.
        let second = Browser::new(&api);
        assert_eq!(second.sign_in(owner(), "").await.status, 200);
        let out =
            second.send("DELETE", "/api/v1/session?everywhere=true", &[("Warp-Request", "1")], b"").await;
        assert_eq!(out.data()["ended"], 2);
        assert_eq!((status().await, count(&api).await), (401, 0));
        // A token or a key is no session, and says who it is all the same.
        let (_, token) = api.person(Role::Customer(CustomerRole::Billing), Some(&customer)).await;
        let who = api.call(&token, "GET", "/api/v1/session", None).await.data();
        assert_eq!((&who["role"], &who["session_id"]), (&json!("billing"), &Value::Null));
        assert_eq!(api.call(&token, "DELETE", "/api/v1/session", None).await.status, 404);
        assert_eq!(api.op("GET", "/session", None).await.data()["kind"], "key");
    });
}

#[test]
fn a_session_lives_on_while_its_issuer_speaks_for_it_and_one_request_asks() {
    with_api(|api| async move {
        let (_, browser) = signed_in(&api).await;
        let subject = subject_of(owner());
        // Its access token has ended: of ten requests at once one asks, and a refresh token works once.
        alter(&api, "UPDATE sessions SET vouched_until = now() - interval '1 hour'").await;
        let all = (0..10).map(|_| browser.get("/api/v1/session"));
        let mut joined = Vec::new();
        for asked in all.map(Box::pin) {
            joined.push(asked);
        }
        let statuses = join(joined).await;
        assert_eq!(statuses, [200; 10]);
        let sql = "SELECT count(*) FROM sessions WHERE vouched_until > now() + interval '59 minutes' AND asked_at IS NULL";
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(tx.db()).await.unwrap(), 1);
        drop(tx);
        // Shortly before the end it is asked already; the second factor is not newer for that.
        alter(
            &api,
            "UPDATE sessions SET vouched_until = now() + interval '30 seconds', second_factor_at = NULL",
        )
        .await;
        assert_eq!(browser.get("/api/v1/session").await.status, 200);
        // Another process asks and has died: after half a minute it is ours to ask.
        alter(&api, "UPDATE sessions SET vouched_until = now() - interval '1 hour', asked_at = now() - interval '31 seconds'").await;
        assert_eq!(browser.get("/api/v1/session").await.status, 200);
        // The issuer speaks for it no more.
        api.control.app.dev_issuer.as_ref().unwrap().forget(&subject);
        assert_eq!(browser.get("/api/v1/session").await.status, 200, "it was asked a moment ago");
        alter(&api, "UPDATE sessions SET vouched_until = now() - interval '1 second'").await;
        assert_eq!((browser.get("/api/v1/session").await.status, count(&api).await), (401, 0));
    });
}

/// Waits for all of them at once.
async fn join(all: Vec<std::pin::Pin<Box<impl Future<Output = Reply>>>>) -> Vec<u16> {
    let mut all: Vec<_> = all.into_iter().map(|f| (Some(f), 0)).collect();
    std::future::poll_fn(|cx| {
        for (waiting, status) in &mut all {
            if let Some(f) = waiting
                && let std::task::Poll::Ready(reply) = f.as_mut().poll(cx)
            {
                (*waiting, *status) = (None, reply.status);
            }
        }
        if all.iter().all(|(f, _)| f.is_none()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    all.into_iter().map(|(_, status)| status).collect()
}

#[test]
fn t_api_05_a_session_steps_up_through_the_issuer_and_the_old_one_ends() {
    with_api(|api| async move {
        let (_, browser) = signed_in(&api).await;
        let new = json!({ "name": "k", "scopes": ["calls:read"] });
        assert_eq!(browser.change("POST", "/api/v1/keys", new.clone()).await.status, 201);
        alter(&api, "UPDATE sessions SET second_factor_at = now() - interval '16 minutes'").await;
        let r = browser.change("POST", "/api/v1/keys", new.clone()).await;
        assert_eq!((r.status, r.code().as_str()), (401, "step_up_required"), "{}", r.body);
        let sent = browser.get("/api/v1/session/login?step_up=true").await;
        let asked = sent.header("location").unwrap();
        assert!(
            asked.contains("prompt=login")
                && asked.contains("max_age=0")
                && asked.contains("audience=warp-dev-customers")
        );
        // The issuer lets in without a second factor: the session is as it was.
        let weak = format!("{}&acr_values=pwd&login_hint={}", local(&api, asked), subject_of(owner()));
        let weak = browser.get(&weak).await;
        let r = browser.get(&local(&api, weak.header("location").unwrap())).await;
        assert!(r.status == 403 && r.body.contains("no second factor"), "{}", r.body);
        assert_eq!(browser.get("/api/v1/session").await.data()["second_factor_until"], Value::Null);
        let old = browser.cookie(CUSTOMER).unwrap();
        assert_eq!(browser.sign_in(owner(), "&step_up=true").await.status, 200);
        assert_eq!(browser.change("POST", "/api/v1/keys", new).await.status, 201);
        let stale = Browser::new(&api);
        stale.put(CUSTOMER, &old);
        assert_eq!((stale.get("/api/v1/session").await.status, count(&api).await), (401, 1));
    });
}

#[test]
fn t_api_05_an_operators_session_opens_a_view_and_nobody_signs_in_who_is_bound_to_nobody() {
    with_api(|api| async move {
        let (customer, _) = api.customer("Mine").await;
        let browser = Browser::new(&api);
        let r = browser.sign_in(admin(), "").await;
        assert!(r.status == 403 && r.body.contains("nobody here is bound to you"), "{}", r.body);
        api.person(admin(), None).await;
        assert_eq!(browser.sign_in(admin(), "").await.status, 200);
        assert_eq!(browser.get("/api/v1/admin/customers").await.status, 200);
        assert_eq!(
            browser.get("/api/v1/session").await.status,
            401,
            "the customers' API has a cookie of its own"
        );
        let path = format!("/api/v1/admin/customers/{customer}/views");
        let view = browser.change("POST", &path, json!({ "reason": "ticket 4711" })).await.data();
        let seen = api.call(view["secret"].as_str().unwrap(), "GET", "/api/v1/customer", None).await.data();
        assert_eq!(seen["id"], customer.as_str());
        // A header that says who one is counts, and not the cookie beside it.
        let wrong = [("Authorization", "Bearer wk_test_x")];
        assert_eq!(browser.send("GET", "/api/v1/admin/customers", &wrong, b"").await.status, 401);
    });
}

#[test]
fn t_api_08_who_fails_to_sign_in_is_paced_and_without_a_client_there_is_no_sign_in() {
    let narrow = |c: &mut warp_control_plane::Config| {
        c.edge.address_limit = warp_control_plane::api::limiter::Limit { per_second: 1, burst: 3 };
    };
    with_configured_api(narrow, |api| async move {
        let browser = Browser::new(&api);
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(browser.get("/api/v1/session/callback?code=x&state=y").await.status);
        }
        assert_eq!(seen, [403, 403, 403, 429, 429]);
    });
    with_configured_api(
        |c| c.dev_issuer = None,
        |api| async move {
            for path in ["/api/v1/session/login", "/api/v1/admin/session/login", "/api/v1/session/callback"] {
                let r = api.send("GET", path, &[], b"").await;
                assert_eq!((r.status, r.code().as_str()), (404, "not_found"), "{}", r.body);
            }
        },
    );
}
